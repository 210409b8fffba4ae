#include <moderato/core/secret.hpp>

namespace moderato {

std::string Secret::redact(std::string text) const {
  constexpr std::string_view mark = "[key]";
  if (value_.empty()) return text;
  for (std::size_t at = text.find(value_); at != std::string::npos;
       at = text.find(value_, at + mark.size())) {
    text.replace(at, value_.size(), mark);
  }
  return text;
}

}  // namespace moderato
