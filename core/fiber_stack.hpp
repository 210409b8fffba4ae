#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moderato {

/// Memory for one fiber's stack, from `low` upwards.
struct FiberStack {
  std::byte* low = nullptr;
  std::size_t size = 0;
  /// Memory without access lies below `low`; otherwise canaries lie at `low`.
  bool guarded = false;

  [[nodiscard]] std::byte* top() const noexcept { return low + size; }
};

/// Stacks for the fibers of one loop: reused, virtual (only touched pages use memory), and
/// protected. The first `max_guarded` have 256 KiB without access below them, so an overflow ends
/// the process at the faulting instruction, unless a single frame of more than that steps over it
/// (compile code with such frames with -fstack-clash-protection, as this library is). Linux allows
/// 65,530 mappings and a guarded stack takes two, so further stacks come from slabs whose low ends
/// carry canaries: check() finds an overflow at the fiber's next switch. Not thread safe.
class FiberStackPool {
 public:
  FiberStackPool(std::size_t stack_size, std::size_t max_guarded);
  ~FiberStackPool();
  FiberStackPool(const FiberStackPool&) = delete;
  FiberStackPool& operator=(const FiberStackPool&) = delete;

  /// Throws std::bad_alloc if the system has no more address space.
  [[nodiscard]] FiberStack take();
  void give_back(FiberStack stack) noexcept;
  [[nodiscard]] std::size_t pooled() const noexcept { return free_.size(); }

  /// Ends the process with a message if the stack overflowed into its canaries.
  static void check(const FiberStack& stack) noexcept;

 private:
  FiberStack make_guarded();
  void make_slab();

  const std::size_t page_;
  const std::size_t stack_size_;
  const std::size_t max_guarded_;
  std::vector<FiberStack> free_;
  std::vector<FiberStack> guarded_;  // all of them, for unmapping
  std::vector<std::byte*> slabs_;
};

}  // namespace moderato
