// Arguments as a model writes them: repaired, parsed, written.

#include <cstdlib>
#include <moderato/agents/tool_json.hpp>
#include <moderato/core/json.hpp>

using namespace moderato;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto json = parse_json(text);
  if (!json) json = parse_json(repair_json(text));
  if (!json) return 0;
  (void)result_text(*json);
  const std::string written = dump_json(*json);
  const auto again = parse_json(written);
  if (!again || dump_json(*again) != written) std::abort();
  return 0;
}
