// A message from a file: what is read is written, and read again as the same.

#include <cstdlib>
#include <moderato/core/message.hpp>

using namespace moderato;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = parse_json({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  const auto message = message_from_json(*json);
  if (!message) return 0;
  const auto again = message_from_json(to_json(*message));
  if (!again || !(*again == *message)) std::abort();
  return 0;
}
