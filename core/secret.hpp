#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace moderato {

/// A key or a password. It cannot be printed, compared into a log, or turned into JSON by accident:
/// the only way to its text is `reveal()`, which only the transport calls.
class Secret {
 public:
  Secret() = default;
  Secret(std::string value) : value_(std::move(value)) {}  // NOLINT: a text is the natural input
  Secret(const char* value) : value_(value == nullptr ? "" : value) {}  // NOLINT

  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }
  [[nodiscard]] const std::string& reveal() const noexcept { return value_; }

  /// `text` with every occurrence of this secret replaced by "[key]".
  [[nodiscard]] std::string redact(std::string text) const;

 private:
  std::string value_;
};

}  // namespace moderato
