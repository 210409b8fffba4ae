#pragma once

// Private header of the library: not installed.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <moderato/llm/request.hpp>

namespace moderato {

/// Something that is made once for each ToolList (its bytes in a dialect, its size) and found again
/// while that list lives. Bounded: beyond `max_lists` the oldest is forgotten. Thread safe.
template <class T>
class PerToolList {
 public:
  static constexpr std::size_t max_lists = 256;

  /// What `make()` gave for this list, now or earlier. `tools` is not null.
  template <class Make>
  [[nodiscard]] std::shared_ptr<const T> get(const ToolList& tools, Make&& make) {
    {
      const std::scoped_lock lock(mutex_);
      for (const Entry& entry : entries_) {
        if (same_owner(entry.list, tools)) return entry.made;
      }
    }
    auto made = std::make_shared<const T>(std::forward<Make>(make)());
    const std::scoped_lock lock(mutex_);
    std::erase_if(entries_, [](const Entry& entry) { return entry.list.expired(); });
    if (entries_.size() == max_lists) entries_.erase(entries_.begin());
    entries_.push_back({tools, made});
    return made;
  }

 private:
  using Weak = std::weak_ptr<const std::vector<ToolDefinition>>;
  struct Entry {
    Weak list;
    std::shared_ptr<const T> made;
  };
  // The weak pointer keeps the list's control block, so another list cannot be taken for this one
  // even if it was allocated at the same address.
  static bool same_owner(const Weak& known, const ToolList& tools) noexcept {
    return !known.owner_before(tools) && !tools.owner_before(known);
  }

  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace moderato
