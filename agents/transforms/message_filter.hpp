#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <moderato/core/message.hpp>

namespace moderato {

/// Which messages a transform changes; empty: all of them.
using MessageFilter = std::function<bool(const Message&)>;

/// AutoGen's filter_dict: for each member ("role", "name", "content", "tool_call_id") a list of
/// values. A message is changed if for *every* member "its value is in the list" differs from
/// `exclude`. So by default one match is enough to leave a message alone; with `exclude` false all
/// must match.
[[nodiscard]] MessageFilter filter_dict(std::map<std::string, std::vector<std::string>> values,
                                        bool exclude = true);

}  // namespace moderato
