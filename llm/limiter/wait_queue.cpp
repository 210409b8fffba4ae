#include <moderato/llm/limiter/wait_queue.hpp>

namespace moderato {

void WaitQueue::push(Entry& entry) noexcept {
  entry.before = back_;
  entry.after = nullptr;
  (back_ != nullptr ? back_->after : front_) = &entry;
  back_ = &entry;
  ++sum_.calls;
  sum_.cost += entry.ask;
  for (std::size_t i = 0; i < entry.idle.size(); ++i) sum_.idle[i] += entry.idle[i];
}

void WaitQueue::remove(Entry& entry) noexcept {
  (entry.before != nullptr ? entry.before->after : front_) = entry.after;
  (entry.after != nullptr ? entry.after->before : back_) = entry.before;
  --sum_.calls;
  sum_.cost -= entry.ask;
  for (std::size_t i = 0; i < entry.idle.size(); ++i) sum_.idle[i] -= entry.idle[i];
}

}  // namespace moderato
