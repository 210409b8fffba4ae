#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>

namespace moderato {

/// One server-sent event. The views are valid during the callback that gets it.
struct SseEvent {
  std::string_view event;    ///< Its `event` field; empty if it has none (which means "message").
  std::string_view data;     ///< Its `data` lines, joined by line feeds.
  std::string_view last_id;  ///< The last `id` of the stream so far.
};

/// Takes a stream of server-sent events (WHATWG HTML, 9.2.6) in pieces cut anywhere, and gives
/// whole events: CRLF, LF and CR line ends, a byte order mark at the start, comments and unknown
/// fields skipped, `retry` ignored. An event without data is dropped, and so is one that the
/// stream's end cuts off, as the standard says. Bytes are passed on as they came, valid UTF-8 or
/// not.
///
/// Where an event lies in one piece its data is not copied. Not thread safe.
class SseParser {
 public:
  static constexpr std::size_t default_max_event_bytes = 8UL * 1024 * 1024;

  /// `max_event_bytes` bounds the data of one event and the length of one line.
  explicit SseParser(std::size_t max_event_bytes = default_max_event_bytes)
      : max_event_bytes_(max_event_bytes) {}

  /// Takes the next piece and calls `on_event` for each event that is complete with it. Ends with
  /// the error that `on_event` returned, or with too_large; the parser is of no use after either.
  [[nodiscard]] Result<void> feed(std::string_view piece,
                                  const std::function<Result<void>(const SseEvent&)>& on_event);

 private:
  [[nodiscard]] Result<void> take_line(
      std::string_view line, bool in_piece,
      const std::function<Result<void>(const SseEvent&)>& on_event);
  void take_data(std::string_view value, bool in_piece);
  void keep_data();
  [[nodiscard]] Result<void> dispatch(const std::function<Result<void>(const SseEvent&)>& on_event);
  [[nodiscard]] tl::unexpected<Error> too_large() const;

  const std::size_t max_event_bytes_;
  std::string line_;           // The start of a line whose end has not come.
  std::string data_;           // The event's data, once it had to be copied;
  std::string_view in_piece_;  // until then: its only line, within the piece.
  bool has_data_ = false;
  std::string event_;
  std::string last_id_;
  bool first_line_ = true;
  bool skip_line_feed_ = false;  // The last line ended with a CR: an LF now belongs to it.
};

}  // namespace moderato
