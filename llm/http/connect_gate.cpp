#include <moderato/llm/http/connect_gate.hpp>

namespace moderato {

ConnectGate::Place::Place(ConnectGate& gate, WaitPoint& admitted)
    : gate_(gate), admitted_(admitted) {
  if (gate_.connecting_ == max_connecting) {
    gate_.waiting_.push_back(this);
    return;
  }
  ++gate_.connecting_;
  state_ = State::in;
}

void ConnectGate::Place::leave() {
  const State before = state_;
  state_ = State::left;
  if (before == State::waiting) std::erase(gate_.waiting_, this);
  if (before == State::in) {
    --gate_.connecting_;
    gate_.let_in();
  }
}

void ConnectGate::let_in() {
  if (waiting_.empty()) return;
  Place& next = *waiting_.front();
  waiting_.pop_front();
  ++connecting_;
  next.state_ = Place::State::in;
  next.admitted_.notify();
}

}  // namespace moderato
