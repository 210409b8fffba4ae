#include <moderato/core/message.hpp>

#include <fmt/format.h>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<Role, 6> role_names{
    {"system", "developer", "user", "assistant", "tool", "function"}};

Json content_to_json(const Content& content) {
  if (content.is_null()) return nullptr;
  if (content.is_text()) return std::string(content.as_text());
  Json parts = Json::array();
  for (const ContentPart& part : content.parts()) {
    if (const auto* text = std::get_if<TextPart>(&part)) {
      parts.push_back({{"type", "text"}, {"text", text->text}});
    } else {
      const auto& image = std::get<ImagePart>(part);
      Json url{{"url", image.url}};
      if (!image.detail.empty()) url["detail"] = image.detail;
      parts.push_back({{"type", "image_url"}, {"image_url", std::move(url)}});
    }
  }
  return parts;
}

Json function_to_json(const std::string& name, const std::string& arguments) {
  return {{"name", name}, {"arguments", arguments}};
}

/// Reads the members of one message; the first wrong one stops it.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  Result<Message> read() {
    if (!json_.is_object()) return wrong("the message", "an object");
    Message message;
    read_role(message);
    if (const Json* content = find("content")) message.content = read_content(*content);
    message.name = text("name");
    message.tool_call_id = text("tool_call_id");
    message.refusal = text("refusal");
    read_tool_calls(message);
    if (const Json* call = find("function_call")) {
      message.function_call = FunctionCall{text_in(*call, "name", "function_call.name"),
                                           text_in(*call, "arguments", "function_call.arguments")};
    }
    read_tool_responses(message);
    if (const Json* context = find("context")) message.context = *context;
    if (error_) return tl::unexpected<Error>(std::move(*error_));
    return message;
  }

 private:
  [[nodiscard]] tl::unexpected<Error> wrong(std::string_view member, std::string_view expected) {
    return fail(ErrorCode::invalid_message, fmt::format("{} must be {}", member, expected));
  }
  void note(std::string_view member, std::string_view expected) {
    if (!error_) error_ = wrong(member, expected).value();
  }
  /// The member, unless it is absent or null.
  [[nodiscard]] const Json* find(const char* member) const {
    const auto found = json_.find(member);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  std::string text(const char* member) {
    const Json* found = find(member);
    if (found == nullptr) return {};
    if (!found->is_string()) note(member, "a text");
    return found->is_string() ? found->get<std::string>() : std::string();
  }
  std::string text_in(const Json& object, const char* member, std::string_view path) {
    if (!object.is_object()) {
      note(path, "in an object");
      return {};
    }
    const auto found = object.find(member);
    if (found == object.end() || found->is_null()) return {};
    if (!found->is_string()) {
      note(path, "a text");
      return {};
    }
    return found->get<std::string>();
  }
  const Json& array(const char* member) {
    static const Json none = Json::array();
    const Json* found = find(member);
    if (found == nullptr) return none;
    if (!found->is_array()) note(member, "an array");
    return found->is_array() ? *found : none;
  }

  void read_role(Message& message) {
    const std::string name = text("role");
    if (name.empty()) return;
    if (const auto role = role_from_string(name)) {
      message.role = *role;
    } else {
      note("role", "system, developer, user, assistant, tool or function");
    }
  }

  Content read_content(const Json& content) {
    if (content.is_string()) return content.get<std::string>();
    if (!content.is_array()) {
      note("content", "null, a text or an array of parts");
      return {};
    }
    std::vector<ContentPart> parts;
    for (const Json& part : content) {
      const std::string type = text_in(part, "type", "content[].type");
      if (type == "text") {
        parts.emplace_back(TextPart{text_in(part, "text", "content[].text")});
      } else if (type == "image_url" && part.contains("image_url")) {
        const Json& url = part["image_url"];
        parts.emplace_back(ImagePart{text_in(url, "url", "content[].image_url.url"),
                                     text_in(url, "detail", "content[].image_url.detail")});
      } else {
        note("content[].type", "text or image_url");
      }
    }
    return parts;
  }

  void read_tool_calls(Message& message) {
    for (const Json& call : array("tool_calls")) {
      ToolCall read;
      read.id = text_in(call, "id", "tool_calls[].id");
      if (call.is_object() && call.contains("function")) {
        const Json& function = call["function"];
        read.name = text_in(function, "name", "tool_calls[].function.name");
        read.arguments = text_in(function, "arguments", "tool_calls[].function.arguments");
      } else {
        note("tool_calls[].function", "an object");
      }
      message.tool_calls.push_back(std::move(read));
    }
  }

  void read_tool_responses(Message& message) {
    for (const Json& response : array("tool_responses")) {
      ToolResponse read{.tool_call_id = text_in(response, "tool_call_id", "tool_call_id"),
                        .content = text_in(response, "content", "tool_responses[].content"),
                        .name = text_in(response, "name", "tool_responses[].name")};
      if (text_in(response, "role", "tool_responses[].role") == "function") {
        read.role = Role::function;
      }
      message.tool_responses.push_back(std::move(read));
    }
  }

  const Json& json_;
  std::optional<Error> error_;
};

}  // namespace

std::string_view to_string(Role role) noexcept {
  return role_names.name_of(role);
}
std::optional<Role> role_from_string(std::string_view name) noexcept {
  return role_names.value_of(name);
}

std::string_view Content::as_text() const noexcept {
  const auto* text = std::get_if<std::string>(&value_);
  return text != nullptr ? std::string_view(*text) : std::string_view();
}

const std::vector<ContentPart>& Content::parts() const noexcept {
  static const std::vector<ContentPart> none;
  const auto* parts = std::get_if<std::vector<ContentPart>>(&value_);
  return parts != nullptr ? *parts : none;
}

std::string Content::text() const {
  if (!is_parts()) return std::string(as_text());
  std::string joined;
  for (const ContentPart& part : parts()) {
    const auto* text = std::get_if<TextPart>(&part);
    joined += text != nullptr ? text->text : "<image>";
  }
  return joined;
}

Message Message::system(std::string text) {
  return {.role = Role::system, .content = std::move(text)};
}
Message Message::user(std::string text, std::string name) {
  return {.role = Role::user, .content = std::move(text), .name = std::move(name)};
}
Message Message::assistant(std::string text, std::string name) {
  return {.role = Role::assistant, .content = std::move(text), .name = std::move(name)};
}
Message Message::tool(std::string tool_call_id, std::string text) {
  return {.role = Role::tool, .content = std::move(text), .tool_call_id = std::move(tool_call_id)};
}

Json to_json(const Message& message) {
  Json json{{"content", content_to_json(message.content)},
            {"role", std::string(to_string(message.role))}};
  if (!message.name.empty()) json["name"] = message.name;
  if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
  if (!message.refusal.empty()) json["refusal"] = message.refusal;
  for (const ToolCall& call : message.tool_calls) {
    Json entry = Json::object();
    if (!call.id.empty()) entry["id"] = call.id;
    entry["type"] = "function";
    entry["function"] = function_to_json(call.name, call.arguments);
    json["tool_calls"].push_back(std::move(entry));
  }
  if (message.function_call) {
    json["function_call"] =
        function_to_json(message.function_call->name, message.function_call->arguments);
  }
  for (const ToolResponse& response : message.tool_responses) {
    Json entry = Json::object();
    if (!response.tool_call_id.empty()) entry["tool_call_id"] = response.tool_call_id;
    if (!response.name.empty()) entry["name"] = response.name;
    entry["role"] = std::string(to_string(response.role));
    entry["content"] = response.content;
    json["tool_responses"].push_back(std::move(entry));
  }
  if (!message.context.is_null()) json["context"] = message.context;
  return json;
}

Result<Message> message_from_json(const Json& json) {
  return Reader(json).read();
}

// --- StoredMessage
// ----------------------------------------------------------------------------------

/// One dialect's bytes: a node of a list that only grows, so readers need no lock.
struct StoredMessage::Wire {
  const void* dialect;
  std::string bytes;
  Wire* next;
};

StoredMessage::~StoredMessage() {
  for (Wire* wire = wires_.load(); wire != nullptr;) {
    Wire* next = wire->next;
    delete wire;
    wire = next;
  }
}

const std::string* StoredMessage::find_wire(const void* dialect) const noexcept {
  for (const Wire* wire = wires_.load(std::memory_order_acquire); wire != nullptr;
       wire = wire->next) {
    if (wire->dialect == dialect) return &wire->bytes;
  }
  return nullptr;
}

std::string_view StoredMessage::keep_wire(const void* dialect, std::string bytes) const {
  auto made = std::make_unique<Wire>(Wire{dialect, std::move(bytes), wires_.load()});
  // Two threads may make the same bytes at once; both copies stay, which is harmless.
  while (!wires_.compare_exchange_weak(made->next, made.get(), std::memory_order_acq_rel)) {
  }
  return made.release()->bytes;
}

}  // namespace moderato
