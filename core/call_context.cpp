#include <moderato/core/call_context.hpp>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<Priority, 3> names{{"interactive", "normal", "batch"}};

}  // namespace

std::string_view to_string(Priority priority) noexcept {
  return names.name_of(priority);
}

}  // namespace moderato
