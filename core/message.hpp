#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>

namespace moderato {

/// Who speaks, in the words of the chat completions format. `function` is the legacy tool role.
enum class Role : std::uint8_t { system, developer, user, assistant, tool, function };

[[nodiscard]] std::string_view to_string(Role role) noexcept;
[[nodiscard]] std::optional<Role> role_from_string(std::string_view name) noexcept;

struct TextPart {
  std::string text{};
  bool operator==(const TextPart&) const = default;
};

/// An image by URL (http(s) or data:). `detail` is "auto", "low", "high" or empty (left out).
struct ImagePart {
  std::string url{};
  std::string detail{};
  bool operator==(const ImagePart&) const = default;
};

using ContentPart = std::variant<TextPart, ImagePart>;

/// Content of a message: null (as in a message that only calls tools), a text, or parts.
class Content {
 public:
  Content() = default;                                                   // null
  Content(std::nullptr_t) {}                                             // NOLINT
  Content(std::string text) : value_(std::move(text)) {}                 // NOLINT
  Content(std::string_view text) : value_(std::string(text)) {}          // NOLINT
  Content(const char* text) : value_(std::string(text)) {}               // NOLINT
  Content(std::vector<ContentPart> parts) : value_(std::move(parts)) {}  // NOLINT

  [[nodiscard]] bool is_null() const noexcept { return value_.index() == 0; }
  [[nodiscard]] bool is_text() const noexcept { return value_.index() == 1; }
  [[nodiscard]] bool is_parts() const noexcept { return value_.index() == 2; }
  /// The text itself; empty view unless is_text().
  [[nodiscard]] std::string_view as_text() const noexcept;
  /// The parts; empty unless is_parts().
  [[nodiscard]] const std::vector<ContentPart>& parts() const noexcept;
  /// AutoGen's content_str: null is "", parts are joined without separator, an image is "<image>".
  [[nodiscard]] std::string text() const;

  bool operator==(const Content&) const = default;

 private:
  std::variant<std::monostate, std::string, std::vector<ContentPart>> value_;
};

/// A model's wish to run a tool. `arguments` is the model's own text, meant to be JSON.
struct ToolCall {
  std::string id{};  ///< May be empty: some servers send none.
  std::string name{};
  std::string arguments{};
  bool operator==(const ToolCall&) const = default;
};

/// The legacy form of a call (role `function` answers it).
struct FunctionCall {
  std::string name{};
  std::string arguments{};
  bool operator==(const FunctionCall&) const = default;
};

/// The answer to one tool call inside a message that answers several.
struct ToolResponse {
  std::string tool_call_id{};  ///< Empty: the call had no id.
  Role role = Role::tool;      ///< `function` for a legacy call.
  std::string content{};
  std::string name{};  ///< Only for legacy calls.
  bool operator==(const ToolResponse&) const = default;
};

/// One message, in the shape that AutoGen 0.2 stores: a chat completions message that may in
/// addition carry the answers to several tool calls (`tool_responses`) and a `context`.
/// A plain value; copy it freely.
struct Message {
  Role role = Role::user;
  Content content{};
  std::string name{};
  std::vector<ToolCall> tool_calls{};
  std::optional<FunctionCall> function_call{};
  std::string tool_call_id{};
  std::vector<ToolResponse> tool_responses{};
  /// AutoGen's `context`: values for templates; null if absent.
  Json context{};
  /// What the model said when it refused to answer; empty otherwise.
  std::string refusal{};

  [[nodiscard]] bool has_calls() const noexcept { return !tool_calls.empty() || function_call; }
  /// content.text().
  [[nodiscard]] std::string text() const { return content.text(); }

  [[nodiscard]] static Message system(std::string text);
  [[nodiscard]] static Message user(std::string text, std::string name = {});
  [[nodiscard]] static Message assistant(std::string text, std::string name = {});
  [[nodiscard]] static Message tool(std::string tool_call_id, std::string text);

  bool operator==(const Message&) const = default;
};

/// {"content": …, "role": …, "name": …, …}; absent members are left out, null content is written.
[[nodiscard]] Json to_json(const Message& message);
/// Reads what to_json writes and what chat completions endpoints send. Unknown members are ignored;
/// a wrong type is an invalid_message error that names the member.
[[nodiscard]] Result<Message> message_from_json(const Json& json);

/// An immutable, shared message that remembers its wire bytes: each dialect serialises it once and
/// every later request splices the bytes (building a 200-message body anew costs 150 times more).
/// Thread safe.
class StoredMessage {
 public:
  explicit StoredMessage(Message&& message) : message_(std::move(message)) {}
  explicit StoredMessage(const Message& message) : message_(message) {}
  StoredMessage(const StoredMessage&) = delete;
  StoredMessage& operator=(const StoredMessage&) = delete;
  ~StoredMessage();

  [[nodiscard]] const Message& operator*() const noexcept { return message_; }
  [[nodiscard]] const Message* operator->() const noexcept { return &message_; }

  /// The bytes of this message in the dialect `dialect` (the address of any object that is unique
  /// to the dialect); `write(message)` makes them at the first call. The view lives as long as
  /// *this.
  template <class Write>
  [[nodiscard]] std::string_view wire(const void* dialect, Write&& write) const {
    if (const std::string* found = find_wire(dialect)) return *found;
    return keep_wire(dialect, std::forward<Write>(write)(message_));
  }

 private:
  struct Wire;
  [[nodiscard]] const std::string* find_wire(const void* dialect) const noexcept;
  [[nodiscard]] std::string_view keep_wire(const void* dialect, std::string bytes) const;

  Message message_;
  mutable std::atomic<Wire*> wires_{nullptr};
};

using MessagePtr = std::shared_ptr<const StoredMessage>;

[[nodiscard]] inline MessagePtr store(Message&& message) {
  return std::make_shared<const StoredMessage>(std::move(message));
}
[[nodiscard]] inline MessagePtr store(const Message& message) {
  return std::make_shared<const StoredMessage>(message);
}

/// A history: messages in order, shared, never changed in place.
using MessageList = std::vector<MessagePtr>;

}  // namespace moderato
