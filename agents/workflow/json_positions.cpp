#include <moderato/agents/workflow/json_positions.hpp>

#include <algorithm>

#include <moderato/core/json.hpp>

namespace moderato {
namespace {

bool is_index(std::string_view part) {
  return !part.empty() &&
         std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string unescaped(std::string_view part) {
  std::string text;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '~' && i + 1 < part.size()) {
      text += part[++i] == '1' ? '/' : '~';
    } else {
      text += part[i];
    }
  }
  return text;
}

}  // namespace

std::string member_of(std::string_view pointer, std::string_view member) {
  std::string all(pointer);
  all += '/';
  for (const char c : member) {
    if (c == '~') {
      all += "~0";
    } else if (c == '/') {
      all += "~1";
    } else {
      all += c;
    }
  }
  return all;
}

std::string item_of(std::string_view pointer, std::size_t index) {
  return std::string(pointer) + '/' + std::to_string(index);
}

std::string readable(std::string_view pointer) {
  std::string text;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    const std::string_view part = pointer.substr(0, end);
    if (is_index(part)) {
      text += '[' + std::string(part) + ']';
    } else {
      if (!text.empty()) text += '.';
      text += unescaped(part);
    }
    pointer.remove_prefix(end);
  }
  return text.empty() ? "the workflow" : text;
}

JsonPositions::JsonPositions(std::string_view text) : text_(text) {
  walk("");
}

void JsonPositions::skip_space() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
}

std::string_view JsonPositions::take_string() {
  const std::size_t begin = at_++;
  while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2U : 1U;
  ++at_;
  return text_.substr(begin, at_ - begin);
}

void JsonPositions::walk(const std::string& pointer) {
  skip_space();
  values_.emplace(pointer, at_);
  if (at_ >= text_.size()) return;
  if (text_[at_] == '{') {
    walk_object(pointer);
  } else if (text_[at_] == '[') {
    walk_array(pointer);
  } else if (text_[at_] == '"') {
    take_string();
  } else {
    while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == text_.npos) {
      ++at_;
    }
  }
}

void JsonPositions::walk_object(const std::string& pointer) {
  ++at_;
  for (skip_space(); at_ < text_.size() && text_[at_] != '}'; skip_space()) {
    const std::size_t begin = at_;
    const Json name = Json::parse(take_string(), nullptr, false);
    const std::string member =
        member_of(pointer, name.is_string() ? name.get_ref<const std::string&>() : "");
    if (!names_.emplace(member, begin).second) repeated_.emplace_back(member, place(begin));
    skip_space();
    ++at_;  // the colon
    walk(member);
    skip_space();
    if (at_ < text_.size() && text_[at_] == ',') ++at_;
  }
  ++at_;
}

void JsonPositions::walk_array(const std::string& pointer) {
  ++at_;
  std::size_t index = 0;
  for (skip_space(); at_ < text_.size() && text_[at_] != ']'; skip_space()) {
    walk(item_of(pointer, index++));
    skip_space();
    if (at_ < text_.size() && text_[at_] == ',') ++at_;
  }
  ++at_;
}

TextPlace JsonPositions::place(std::size_t offset) const {
  const std::string_view before = text_.substr(0, std::min(offset, text_.size()));
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {.line = 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')),
          .column = before.size() - line_start + 1};
}

TextPlace JsonPositions::value(std::string_view pointer) const {
  for (;;) {
    if (const auto found = values_.find(pointer); found != values_.end()) {
      return place(found->second);
    }
    if (pointer.empty()) return {};
    pointer = pointer.substr(0, pointer.rfind('/'));
  }
}

TextPlace JsonPositions::name(std::string_view pointer) const {
  const auto found = names_.find(pointer);
  return found != names_.end() ? place(found->second) : value(pointer);
}

}  // namespace moderato
