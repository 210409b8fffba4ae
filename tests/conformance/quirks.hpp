#pragma once

#include <span>
#include <string_view>

namespace moderato::conformance {

/// What we do about a behaviour of AutoGen that looks unintended.
enum class Treatment {
  same,            ///< As recorded.
  fixed,           ///< Another result on purpose: a vector with this tag may differ.
  ignored_fields,  ///< As recorded but for fields that mean nothing here; the comparison leaves
                   ///< them out.
};

struct Quirk {
  std::string_view tag;
  Treatment treatment;
  std::string_view why;
  /// For what is fixed: the only places that differ, as paths with `*` for any member, separated by
  /// spaces. Empty: the conversation goes on in another way from there, so anything may differ.
  std::string_view only{};
};

/// One entry for each tag of the recordings.
[[nodiscard]] std::span<const Quirk> quirks();
/// Null for a tag that nobody has decided about.
[[nodiscard]] const Quirk* find_quirk(std::string_view tag);

}  // namespace moderato::conformance
