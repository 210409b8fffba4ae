#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/secret.hpp>
#include <moderato/llm/providers/openai.hpp>

namespace moderato {

// The list of endpoints that AutoGen's users keep in a file (OAI_CONFIG_LIST): a JSON array with an
// object for each, such as {"model": "gpt-4o-mini", "api_key": "…", "base_url": "…", "tags":
// ["cheap"]}. The first is the model, the others make its `fallbacks`.

/// One endpoint of the list. The key has left the settings, so that these can be printed.
struct ConfigEntry {
  Json settings{};  ///< An object.
  Secret api_key{};
};

/// Parses such a list. An error names the line or the entry, and shows nothing of the text, for
/// that may be a key.
[[nodiscard]] Result<std::vector<ConfigEntry>> parse_config_list(
    std::string_view text, std::string_view what = "config list");

/// Holds for an entry whose `setting` is one of `values` or, if it is a list ("tags"), has one of
/// them. An entry without the setting, or with null, never matches.
struct ConfigCriterion {
  std::string setting{};
  std::vector<Json> values{};
};

/// The entries for which all criteria hold; with `exclude`, those for which none does. Without
/// criteria: all of them.
[[nodiscard]] std::vector<ConfigEntry> filter_config(std::vector<ConfigEntry> list,
                                                     const std::vector<ConfigCriterion>& criteria,
                                                     bool exclude = false);

/// The endpoint that an entry means. Reads `model`, `base_url`, `organization`, and for `api_type`
/// "azure" also `api_version` and `azure_deployment` (else the model's name); other settings are
/// left to the caller. Other values of `api_type` than "openai" and "azure" are an error.
[[nodiscard]] Result<OpenAIOptions> openai_options(const ConfigEntry& entry);

}  // namespace moderato
