#include <moderato/llm/http/sse_parser.hpp>

#include <fmt/format.h>

// Why lines, and why views
//
// A delta of a model is one `data:` line of 200 to 400 bytes and a blank line, and a stream has
// thousands of them. Collecting characters one at a time (or copying every piece into a buffer that
// is then searched from its start) costs more than the rest of the way of a delta. So: line ends
// are found by memchr; a line that lies within the piece is looked at where it is; an event's only
// `data` line is handed on as a view into the piece. Something is copied in three cases only: a
// line is cut by the end of the piece, an event is cut between its data and its blank line, or an
// event has several data lines.
//
// A CR ends its line at once, so that a server that uses CR alone need not send another byte before
// its event is seen; a line feed that follows, be it in the next piece, is dropped.

namespace moderato {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// Finds line ends in one piece; remembers the next LF, so that lines ended by CR do not make it
/// search the rest of the piece again and again.
class LineEnds {
 public:
  explicit LineEnds(std::string_view piece) : piece_(piece) {}

  [[nodiscard]] std::size_t after(std::size_t at) {
    if (next_line_feed_ < at || !searched_) {
      next_line_feed_ = std::min(piece_.find('\n', at), piece_.size());
      searched_ = true;
    }
    const std::size_t carriage_return = piece_.substr(at, next_line_feed_ - at).find('\r');
    if (carriage_return != std::string_view::npos) return at + carriage_return;
    return next_line_feed_;  // The size of the piece if there is none.
  }

 private:
  std::string_view piece_;
  std::size_t next_line_feed_ = 0;
  bool searched_ = false;
};

}  // namespace

Result<void> SseParser::feed(std::string_view piece,
                             const std::function<Result<void>(const SseEvent&)>& on_event) {
  std::size_t at = 0;
  LineEnds line_ends(piece);
  while (at < piece.size()) {
    if (skip_line_feed_) {
      skip_line_feed_ = false;
      if (piece[at] == '\n' && ++at == piece.size()) break;
    }
    const std::size_t end = line_ends.after(at);
    const std::string_view line = piece.substr(at, end - at);
    if (line.size() > max_event_bytes_ - line_.size()) return too_large();
    if (end == piece.size()) {
      line_ += line;
      break;
    }
    at = end + 1;
    skip_line_feed_ = piece[end] == '\r';
    Result<void> taken;
    if (line_.empty()) {
      taken = take_line(line, true, on_event);
    } else {
      line_ += line;
      taken = take_line(line_, false, on_event);
      line_.clear();
    }
    if (!taken) return taken;
  }
  keep_data();
  return {};
}

Result<void> SseParser::take_line(std::string_view line, bool in_piece,
                                  const std::function<Result<void>(const SseEvent&)>& on_event) {
  if (first_line_) {
    first_line_ = false;
    if (line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
  }
  if (line.empty()) return dispatch(on_event);
  const std::size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value;
  if (colon != std::string_view::npos) {
    value = line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
  }
  if (field == "data") {
    take_data(value, in_piece);
    if (data_.size() > max_event_bytes_) return too_large();
  } else if (field == "event") {
    event_ = value;
  } else if (field == "id" && value.find('\0') == std::string_view::npos) {
    last_id_ = value;
  }
  return {};
}

void SseParser::take_data(std::string_view value, bool in_piece) {
  if (!has_data_) {
    has_data_ = true;
    if (in_piece) {
      in_piece_ = value;
    } else {
      data_ = value;
    }
    return;
  }
  keep_data();
  data_ += '\n';
  data_ += value;
}

void SseParser::keep_data() {
  if (in_piece_.empty()) return;
  data_ = in_piece_;
  in_piece_ = {};
}

Result<void> SseParser::dispatch(const std::function<Result<void>(const SseEvent&)>& on_event) {
  if (!has_data_) {
    event_.clear();
    return {};
  }
  const Result<void> taken = on_event(SseEvent{
      .event = event_, .data = in_piece_.empty() ? data_ : in_piece_, .last_id = last_id_});
  has_data_ = false;
  in_piece_ = {};
  data_.clear();
  event_.clear();
  return taken;
}

tl::unexpected<Error> SseParser::too_large() const {
  return fail(ErrorCode::too_large,
              fmt::format("a server-sent event has more than {} bytes", max_event_bytes_));
}

}  // namespace moderato
