#include <doctest/doctest.h>

#include <moderato/llm/providers/config_list.hpp>

namespace moderato {
namespace {

constexpr const char* endpoints = R"([
  {"model": "small", "api_key": "sk-marked", "tags": ["cheap", "local"]},
  {"model": "large", "base_url": "http://127.0.0.1:8000/v1", "organization": "us"},
  {"model": "large", "api_type": "azure", "base_url": "https://us.openai.azure.com/",
   "api_version": "2024-10-21", "api_key": "sk-marked"}
])";

std::vector<std::string> models(const std::vector<ConfigEntry>& list) {
  std::vector<std::string> names;
  for (const ConfigEntry& entry : list) names.push_back(entry.settings.value("model", ""));
  return names;
}

std::string refusal(std::string_view text) {
  const auto list = parse_config_list(text);
  return list ? "accepted" : list.error().message;
}

}  // namespace

TEST_CASE("entries are picked by their settings, and by what their lists have") {
  const auto list = *parse_config_list(endpoints);
  CHECK(models(list) == std::vector<std::string>{"small", "large", "large"});
  CHECK(models(filter_config(list, {})).size() == 3);
  CHECK(models(filter_config(list, {{"model", {"small", "other"}}})) ==
        std::vector<std::string>{"small"});
  CHECK(models(filter_config(list, {{"tags", {"local"}}})) == std::vector<std::string>{"small"});
  CHECK(filter_config(list, {{"model", {"large"}}, {"api_type", {"azure"}}}).size() == 1);
  CHECK(filter_config(list, {{"nothing", {nullptr}}}).empty());
  // Excluded is what matches any of them.
  CHECK(models(filter_config(list, {{"model", {"large"}}, {"api_type", {"azure"}}}, true)) ==
        std::vector<std::string>{"small"});
}

TEST_CASE("an entry becomes an endpoint; Azure's has the deployment in its path") {
  const auto list = *parse_config_list(endpoints);
  CHECK(openai_options(list[0])->base_url == "https://api.openai.com/v1");
  CHECK(openai_options(list[0])->api_key.reveal() == "sk-marked");
  CHECK(openai_options(list[1])->base_url == "http://127.0.0.1:8000/v1");
  CHECK(openai_options(list[1])->organization == "us");
  const auto azure = *openai_options(list[2]);
  CHECK(azure.base_url ==
        "https://us.openai.azure.com/openai/deployments/large?api-version=2024-10-21");
  CHECK(azure.api_key.empty());
  CHECK(azure.headers ==
        std::vector<std::pair<std::string, std::string>>{{"api-key", "sk-marked"}});
}

TEST_CASE("a list that is wrong is an error that says where, and shows no key") {
  CHECK(refusal(R"([{"api_key": "sk-marked" "x"}])") ==
        "config list, line 1, column 28: this is no JSON");
  CHECK(refusal(R"({"model": "a"})") == "config list: must be an array of objects");
  CHECK(refusal(R"([{}, 7])") == "config list, entry 2: must be an object");
  CHECK(refusal(R"([{"api_key": 7}])") == "config list, entry 1: \"api_key\" must be a text");
  const auto list = *parse_config_list(endpoints);
  for (const ConfigEntry& entry : list) {
    CHECK(dump_json(entry.settings).find("sk-marked") == std::string::npos);
  }

  const auto endpoint = [](const Json& settings) {
    const auto made = openai_options({.settings = settings});
    return made ? "accepted" : made.error().message;
  };
  CHECK(endpoint(Json::object()) == "config list: an entry needs a \"model\"");
  CHECK(endpoint({{"model", 3}}) == "config list: \"model\" must be a text");
  CHECK(endpoint({{"model", "a"}, {"api_type", "azure"}}) ==
        R"(config list: api_type "azure" needs "base_url" and "api_version")");
  CHECK(endpoint({{"model", "a"}, {"api_type", "google"}})
            .starts_with(R"(config list: api_type "google" is not known)"));
}

}  // namespace moderato
