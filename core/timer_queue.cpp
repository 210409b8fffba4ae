#include <moderato/core/timer_queue.hpp>

namespace moderato {

void TimerQueue::put(std::size_t place, Waiter* waiter) noexcept {
  heap_[place] = waiter;
  waiter->place = place;
}

void TimerQueue::sift_up(std::size_t place) noexcept {
  Waiter* moving = heap_[place];
  while (place > 0) {
    const std::size_t parent = (place - 1) / 2;
    if (!before(*moving, *heap_[parent])) break;
    put(place, heap_[parent]);
    place = parent;
  }
  put(place, moving);
}

void TimerQueue::sift_down(std::size_t place) noexcept {
  Waiter* moving = heap_[place];
  for (;;) {
    std::size_t child = 2 * place + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
    if (!before(*heap_[child], *moving)) break;
    put(place, heap_[child]);
    place = child;
  }
  put(place, moving);
}

void TimerQueue::add(Waiter& waiter) {
  waiter.order = next_order_++;
  heap_.push_back(&waiter);
  sift_up(heap_.size() - 1);
}

void TimerQueue::remove(Waiter& waiter) {
  if (waiter.place == Waiter::not_queued) return;
  const std::size_t place = waiter.place;
  waiter.place = Waiter::not_queued;
  Waiter* last = heap_.back();
  heap_.pop_back();
  if (last == &waiter) return;
  put(place, last);
  sift_up(place);
  sift_down(last->place);
}

TimerQueue::Waiter* TimerQueue::pop_due(Instant now) {
  if (heap_.empty() || heap_.front()->deadline > now) return nullptr;
  Waiter* due = heap_.front();
  remove(*due);
  return due;
}

}  // namespace moderato
