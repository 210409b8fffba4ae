#include <moderato/llm/providers/config_list.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace moderato {
namespace {

tl::unexpected<Error> wrong(std::string_view what, std::string_view words) {
  return fail(ErrorCode::configuration, fmt::format("{}: {}", what, words));
}

bool matches(const Json& settings, const ConfigCriterion& criterion) {
  const auto found = settings.find(criterion.setting);
  if (found == settings.end() || found->is_null()) return false;
  const auto wanted = [&](const Json& value) {
    return std::find(criterion.values.begin(), criterion.values.end(), value) !=
           criterion.values.end();
  };
  if (found->is_array()) return std::any_of(found->begin(), found->end(), wanted);
  return wanted(*found);
}

/// The text of a setting; empty where it is absent or null.
Result<std::string> text_of(const ConfigEntry& entry, const char* setting) {
  const auto found = entry.settings.find(setting);
  if (found == entry.settings.end() || found->is_null()) return std::string();
  if (!found->is_string()) {
    return wrong("config list", fmt::format("\"{}\" must be a text", setting));
  }
  return found->get<std::string>();
}

std::string without_slash(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url;
}

/// Azure has a path for each deployment, and takes the key in a header of its own.
Result<OpenAIOptions> azure_options(const ConfigEntry& entry, OpenAIOptions options,
                                    const std::string& base_url) {
  auto version = text_of(entry, "api_version");
  if (!version) return tl::unexpected<Error>(std::move(version).error());
  auto deployment = text_of(entry, "azure_deployment");
  if (!deployment) return tl::unexpected<Error>(std::move(deployment).error());
  if (base_url.empty() || version->empty()) {
    return wrong("config list", R"(api_type "azure" needs "base_url" and "api_version")");
  }
  options.base_url = fmt::format("{}/openai/deployments/{}?api-version={}", without_slash(base_url),
                                 deployment->empty() ? options.model : *deployment, *version);
  options.headers.emplace_back("api-key", options.api_key.reveal());
  options.api_key = Secret();
  return options;
}

}  // namespace

Result<std::vector<ConfigEntry>> parse_config_list(std::string_view text, std::string_view what) {
  auto json = parse_json(text, what);
  if (!json) {
    // The parser quotes what it read last, and that may be a key: only the place is told.
    const std::string& words = json.error().message;
    const std::size_t place_end = words.find(": ", what.size());
    return fail(ErrorCode::configuration, words.substr(0, place_end) + ": this is no JSON");
  }
  if (!json->is_array()) return wrong(what, "must be an array of objects");
  std::vector<ConfigEntry> list;
  for (Json& item : *json) {
    const std::string place = fmt::format("{}, entry {}", what, list.size() + 1);
    if (!item.is_object()) return wrong(place, "must be an object");
    ConfigEntry entry{.settings = std::move(item)};
    if (const auto key = entry.settings.find("api_key"); key != entry.settings.end()) {
      if (!key->is_string() && !key->is_null()) return wrong(place, "\"api_key\" must be a text");
      if (key->is_string()) entry.api_key = key->get<std::string>();
      entry.settings.erase(key);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

std::vector<ConfigEntry> filter_config(std::vector<ConfigEntry> list,
                                       const std::vector<ConfigCriterion>& criteria, bool exclude) {
  std::erase_if(list, [&](const ConfigEntry& entry) {
    return std::any_of(criteria.begin(), criteria.end(), [&](const ConfigCriterion& criterion) {
      return matches(entry.settings, criterion) == exclude;
    });
  });
  return list;
}

Result<OpenAIOptions> openai_options(const ConfigEntry& entry) {
  OpenAIOptions options{.api_key = entry.api_key};
  std::string base_url;
  std::string api_type;
  struct Wanted {
    const char* setting;
    std::string& into;
  };
  for (const Wanted& wanted :
       {Wanted{"model", options.model}, Wanted{"organization", options.organization},
        Wanted{"base_url", base_url}, Wanted{"api_type", api_type}}) {
    auto text = text_of(entry, wanted.setting);
    if (!text) return tl::unexpected<Error>(std::move(text).error());
    wanted.into = std::move(*text);
  }
  if (options.model.empty()) return wrong("config list", "an entry needs a \"model\"");
  if (api_type == "azure") return azure_options(entry, std::move(options), base_url);
  if (!api_type.empty() && api_type != "openai") {
    return wrong(
        "config list",
        fmt::format(R"(api_type "{}" is not known; moderato has "openai" and "azure", and )"
                    R"(servers with OpenAI's API are "openai" with their "base_url")",
                    api_type));
  }
  if (!base_url.empty()) options.base_url = std::move(base_url);
  return options;
}

}  // namespace moderato
