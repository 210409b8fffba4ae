#include <moderato/core/fiber.hpp>

#include <cxxabi.h>
#include <fmt/format.h>

#include <cstring>

#include <moderato/core/loop.hpp>
#include <moderato/core/sanitizers.hpp>

// Fibers: why this file is not a call to boost::context::fiber
//
// Switching stacks is one assembler routine (Boost.Context's jump_fcontext). What makes fibers safe
// is telling everybody who keeps a note about "the stack of this thread":
//
//  * The address sanitizer knows the bounds of the running stack and keeps a fake stack for
//    use-after-return. Each switch is announced (start_switch before, finish_switch after), or the
//    first exception on a fiber is reported as a stack overflow.
//  * The thread sanitizer keeps a shadow call stack; each fiber gets its own. A function that was
//    entered on one shadow stack must not be left on another. boost::context::fiber ends a fiber by
//    *returning* from its entry function through several frames after the switch was announced,
//    which unbalances the shadow stack. Our entry function never returns: it jumps away for good,
//    and the loop frees the stack. For the same reason there is no forced unwinding: a fiber ends
//    by running to its end (cancellation makes every wait return), never by an exception out of
//    nowhere.
//  * The C++ runtime keeps the chain of exceptions being handled by thread. A fiber that waits
//  inside
//    a catch block would leave its exception to whoever runs next, so the two words move with the
//    fiber. (`throw;` after a wait, and nested handlers in two fibers, are what breaks otherwise.)

#if defined(MODERATO_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(MODERATO_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace moderato {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

/// Before the jump from `from` to `to`. A null `from` says that it will never run again.
void announce_switch([[maybe_unused]] SwitchState* from,
                     [[maybe_unused]] SwitchState& to) noexcept {
#if defined(MODERATO_ASAN)
  __sanitizer_start_switch_fiber(from == nullptr ? nullptr : &from->asan_fake_stack, to.stack_low,
                                 to.stack_size);
#endif
#if defined(MODERATO_TSAN)
  if (from != nullptr && from->tsan_fiber == nullptr) from->tsan_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_fiber, 0);
#endif
}

/// After the jump, on the stack of `here`; `from` learns its own bounds.
void complete_switch([[maybe_unused]] SwitchState& here,
                     [[maybe_unused]] SwitchState* from) noexcept {
#if defined(MODERATO_ASAN)
  const void* low = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(here.asan_fake_stack, &low, &size);
  if (from != nullptr) {
    from->stack_low = low;
    from->stack_size = size;
  }
#endif
}

void move_exceptions(std::array<std::uintptr_t, 2>& out, const std::array<std::uintptr_t, 2>& in) {
  auto* globals = reinterpret_cast<std::uintptr_t*>(abi::__cxa_get_globals());
  // The second member is an unsigned int; its word is padded to the alignment of the pointer.
  std::memcpy(out.data(), globals, sizeof(void*) + sizeof(unsigned));
  std::memcpy(globals, in.data(), sizeof(void*) + sizeof(unsigned));
}

}  // namespace

Fiber::Fiber(Loop& loop, FiberStack stack, std::shared_ptr<TaskState> task, std::uint64_t number)
    : loop_(loop),
      stack_(stack),
      task_(std::move(task)),
      number_(number),
      context_(make_fcontext(stack.top(), stack.size, &Fiber::entry)) {
  here_.stack_low = stack.low;
  here_.stack_size = stack.size;
#if defined(MODERATO_TSAN)
  here_.tsan_fiber = __tsan_create_fiber(0);
#endif
  task_->fiber_ = this;
}

Fiber::~Fiber() {
#if defined(MODERATO_TSAN)
  __tsan_destroy_fiber(here_.tsan_fiber);
#endif
}

bool Fiber::cancelled() const noexcept {
  return task_->cancelled_.load(std::memory_order_relaxed);
}

std::string Fiber::name() const {
  return task_->name().empty() ? fmt::format("fiber {}", number_) : task_->name();
}

void Fiber::resume(SwitchState& loop_side) {
  loop_side_ = &loop_side;
  move_exceptions(loop_side.exceptions, here_.exceptions);
  announce_switch(&loop_side, here_);
  const transfer_t back = jump_fcontext(context_, this);
  complete_switch(loop_side, nullptr);
  move_exceptions(here_.exceptions, loop_side.exceptions);
  context_ = back.fctx;
  FiberStackPool::check(stack_);
}

void Fiber::suspend() {
  announce_switch(&here_, *loop_side_);
  const transfer_t from = jump_fcontext(loop_context_, nullptr);
  complete_switch(here_, loop_side_);
  loop_context_ = from.fctx;
}

void Fiber::entry(transfer_t from) noexcept {
  auto* self = static_cast<Fiber*>(from.data);
  complete_switch(self->here_, self->loop_side_);
  self->loop_context_ = from.fctx;
  try {
    self->task_->run();
  } catch (...) {
    self->task_->error_ = std::current_exception();
  }
  self->task_->fiber_ = nullptr;
  self->ended_ = true;
  announce_switch(nullptr, *self->loop_side_);
  jump_fcontext(self->loop_context_, nullptr);
}

}  // namespace moderato
