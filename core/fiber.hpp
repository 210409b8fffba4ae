#pragma once

// Private header of the library: not installed.

#include <array>
#include <boost/context/detail/fcontext.hpp>
#include <cstdint>
#include <memory>

#include <moderato/core/fiber_stack.hpp>
#include <moderato/core/runtime.hpp>

namespace moderato {

/// The state of one side of a switch that the sanitizers and the C++ runtime keep by thread and
/// that has to move with the stack.
struct SwitchState {
  void* asan_fake_stack = nullptr;
  const void* stack_low = nullptr;
  std::size_t stack_size = 0;
  void* tsan_fiber = nullptr;
  std::array<std::uintptr_t, 2> exceptions{};  // __cxa_eh_globals: caught, number uncaught
};

/// A stackful coroutine bound to its loop: runs one task, then ends. See fiber.cpp for the essay.
class Fiber {
 public:
  Fiber(Loop& loop, FiberStack stack, std::shared_ptr<TaskState> task, std::uint64_t number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs the fiber on the loop's thread until it suspends or ends.
  void resume(SwitchState& loop_side);
  /// Back to the loop; returns at the next resume. Only on this fiber.
  void suspend();

  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] bool cancelled() const noexcept;
  [[nodiscard]] const FiberStack& stack() const noexcept { return stack_; }
  [[nodiscard]] Loop& loop() const noexcept { return loop_; }
  /// The task, when the fiber has ended.
  [[nodiscard]] std::shared_ptr<TaskState> take_task() noexcept { return std::move(task_); }
  /// The name given at spawn, or "fiber N".
  [[nodiscard]] std::string name() const;

  /// What it waits on, for deadlock reports and cancellation; null while it runs or is ready.
  WaitPoint* waiting_on = nullptr;
  bool waiting_cancellable = false;
  /// Its place in the loop's list of all fibers.
  std::size_t index = 0;

 private:
  static void entry(boost::context::detail::transfer_t from) noexcept;

  Loop& loop_;
  FiberStack stack_;
  std::shared_ptr<TaskState> task_;
  std::uint64_t number_;
  boost::context::detail::fcontext_t context_;
  boost::context::detail::fcontext_t loop_context_ = nullptr;
  SwitchState here_;
  SwitchState* loop_side_ = nullptr;
  bool ended_ = false;
};

}  // namespace moderato
