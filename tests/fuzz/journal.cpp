// Whatever a journal's file holds is an error or a record: effects, attempts, and recorded model
// calls.

#include <cstdlib>
#include <moderato/core/call_record.hpp>
#include <moderato/llm/model_effect.hpp>

using namespace moderato;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = parse_json({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  if (const auto effect = decode_model_effect(*json)) {
    const std::string written = dump_json(encode_model_effect(*effect));
    const auto again = decode_model_effect(Json::parse(written));
    if (!again || dump_json(encode_model_effect(*again)) != written) std::abort();
  }
  if (const auto call = call_record_from_json(*json)) (void)dump_json(to_json(*call));
  return 0;
}
