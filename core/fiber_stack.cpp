#include <moderato/core/fiber_stack.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include <moderato/core/sanitizers.hpp>

#if defined(MODERATO_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace moderato {
namespace {

constexpr std::size_t stacks_in_slab = 64;
/// Without access below a stack. A frame that is larger than this steps over it, so it is not a
/// page but more than frames are; it takes address space only.
constexpr std::size_t guard_bytes = 256UL * 1024;
/// Freed stacks beyond this number give their touched pages back to the system.
constexpr std::size_t warm_stacks = 256;
constexpr std::array<std::uint64_t, 8> canary{
    0x6d6f64657261746f, 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb,
    0x6d6f64657261746f, 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb};

#if defined(MODERATO_ASAN)
/// The address sanitizer's frames are larger.
constexpr std::size_t stack_scale = 4;
#else
constexpr std::size_t stack_scale = 1;
#endif

/// A fiber's first frames are never left, so the address sanitizer's notes about them outlive it:
/// they are cleared before the memory becomes anything else than a stack.
void forget_first_frames([[maybe_unused]] std::byte* top) noexcept {
#if defined(MODERATO_ASAN)
  constexpr std::size_t more_than_they_are = 8UL * 1024;
  ASAN_UNPOISON_MEMORY_REGION(top - more_than_they_are, more_than_they_are);
#endif
}

std::byte* map(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A huge page under a stack that touches 8 KiB would cost 2 MiB.
  ::madvise(memory, size, MADV_NOHUGEPAGE);
  return static_cast<std::byte*>(memory);
}

}  // namespace

FiberStackPool::FiberStackPool(std::size_t stack_size, std::size_t max_guarded)
    : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))),
      stack_size_((stack_size * stack_scale + page_ - 1) / page_ * page_),
      max_guarded_(max_guarded) {}

FiberStackPool::~FiberStackPool() {
  for (const FiberStack& stack : guarded_) {
    forget_first_frames(stack.top());
    ::munmap(stack.low - guard_bytes, stack.size + guard_bytes);
  }
  for (std::byte* slab : slabs_) {
    for (std::size_t i = 1; i <= stacks_in_slab; ++i) forget_first_frames(slab + i * stack_size_);
    ::munmap(slab, stack_size_ * stacks_in_slab);
  }
}

FiberStack FiberStackPool::make_guarded() {
  std::byte* memory = map(stack_size_ + guard_bytes);
  if (::mprotect(memory, guard_bytes, PROT_NONE) != 0) {
    ::munmap(memory, stack_size_ + guard_bytes);
    throw std::bad_alloc();
  }
  const FiberStack stack{.low = memory + guard_bytes, .size = stack_size_, .guarded = true};
  guarded_.push_back(stack);
  return stack;
}

void FiberStackPool::make_slab() {
  std::byte* memory = map(stack_size_ * stacks_in_slab);
  slabs_.push_back(memory);
  for (std::size_t i = stacks_in_slab; i-- > 0;) {
    free_.push_back({.low = memory + i * stack_size_, .size = stack_size_, .guarded = false});
  }
}

FiberStack FiberStackPool::take() {
  if (free_.empty()) {
    if (guarded_.size() < max_guarded_) return make_guarded();
    make_slab();
  }
  const FiberStack stack = free_.back();
  free_.pop_back();
  if (!stack.guarded) std::memcpy(stack.low, canary.data(), sizeof canary);
  return stack;
}

void FiberStackPool::give_back(FiberStack stack) noexcept {
  check(stack);
  if (free_.size() >= warm_stacks) ::madvise(stack.low, stack.size, MADV_DONTNEED);
  free_.push_back(stack);  // its capacity was there when the stack was taken, or grows by doubling
}

void FiberStackPool::check(const FiberStack& stack) noexcept {
  if (stack.guarded || std::memcmp(stack.low, canary.data(), sizeof canary) == 0) return;
  std::fputs(
      "moderato: a fiber overflowed its stack; raise RuntimeOptions::stack_size, or run the "
      "code that recurses on the worker pool\n",
      stderr);
  std::abort();
}

}  // namespace moderato
