#include "support/http2_server.hpp"

#include <string>

namespace moderato::test {
namespace {

enum Type : std::uint8_t { data = 0, headers = 1, rst_stream = 3, settings = 4, ping = 6 };
constexpr std::uint8_t end_stream = 0x1;  // of data and headers
constexpr std::uint8_t ack = 0x1;         // of settings and ping
constexpr std::uint8_t end_headers = 0x4;
constexpr std::size_t preface_bytes = 24;
constexpr std::size_t head_bytes = 9;

std::uint32_t number(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes) value = value << 8U | static_cast<unsigned char>(byte);
  return value;
}

std::string bytes_of(std::uint32_t value, int count) {
  std::string bytes;
  for (int i = count - 1; i >= 0; --i) {
    bytes += static_cast<char>(value >> static_cast<unsigned>(8 * i) & 0xFFU);
  }
  return bytes;
}

}  // namespace

void Http2Connection::write(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                            std::string_view payload) {
  std::string frame = bytes_of(static_cast<std::uint32_t>(payload.size()), 3);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  frame += bytes_of(stream, 4);
  frame += payload;
  connection_.write(frame);
}

void Http2Connection::serve(const std::function<void(std::uint32_t stream)>& on_request) {
  if (!connection_.read_bytes(preface_bytes)) return;
  write(settings, 0, 0, "");
  while (const auto head = connection_.read_bytes(head_bytes)) {
    const auto type = static_cast<std::uint8_t>((*head)[3]);
    const auto flags = static_cast<std::uint8_t>((*head)[4]);
    const std::uint32_t stream = number(std::string_view(*head).substr(5));
    const auto payload = connection_.read_bytes(number(std::string_view(*head).substr(0, 3)));
    if (!payload) return;
    if ((type == settings || type == ping) && (flags & ack) == 0) {
      write(type, ack, 0, type == ping ? std::string_view(*payload) : "");
    } else if ((type == data || type == headers) && (flags & end_stream) != 0) {
      on_request(stream);
    }
  }
}

void Http2Connection::answer(std::uint32_t stream, std::string_view body) {
  write(headers, end_headers, stream, "\x88");  // :status 200 in HPACK's table
  write(data, end_stream, stream, body);
}

void Http2Connection::reset(std::uint32_t stream, std::uint32_t error_code) {
  write(rst_stream, 0, stream, bytes_of(error_code, 4));
}

}  // namespace moderato::test
