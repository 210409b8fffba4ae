#include <moderato/core/observer.hpp>

#include <atomic>
#include <mutex>
#include <ostream>

namespace moderato {

struct Observer::State::Failures {
  std::atomic<std::uint64_t> count{0};
  std::mutex mutex;
  std::string first;

  void note(std::string text) {
    const std::scoped_lock lock(mutex);
    if (count.fetch_add(1) == 0) first = std::move(text);
  }
};

Observer::State::State(std::function<void(const Event&)> f)
    : call(std::move(f)), failures(std::make_unique<Failures>()) {}
Observer::State::~State() = default;

void Observer::operator()(const Event& event) const noexcept {
  if (!state_) return;
  try {
    state_->call(event);
  } catch (const std::exception& error) {
    state_->failures->note(error.what());
  } catch (...) {
    state_->failures->note("an exception that is not a std::exception");
  }
}

std::uint64_t Observer::failures() const noexcept {
  return state_ ? state_->failures->count.load() : 0;
}

std::string Observer::first_failure() const {
  if (!state_) return {};
  const std::scoped_lock lock(state_->failures->mutex);
  return state_->failures->first;
}

Observer operator|(Observer left, Observer right) {
  if (!left) return right;
  if (!right) return left;
  return Observer([left = std::move(left), right = std::move(right)](const Event& event) {
    left(event);
    right(event);
  });
}

Observer json_lines(std::ostream& out) {
  auto mutex = std::make_shared<std::mutex>();  // observers of several loops may share the stream
  return Observer([&out, mutex](const Event& event) {
    const std::string line = dump_json(to_json(event)) + "\n";
    const std::scoped_lock lock(*mutex);
    out << line;
  });
}

}  // namespace moderato
