// An answer as a C++ value: the aggregate is described once, and every answer is checked against
// it. One that does not fit goes back to the model with what is wrong, a bounded number of times.

#include "support.hpp"

using namespace moderato;

enum class Mood { glad, neutral, angry };

struct Complaint {
  std::string product{};
  Mood mood = Mood::neutral;
  std::int64_t urgency = 0;
  std::vector<std::string> problems{};
};

template <>
struct moderato::Describe<Mood> {
  static constexpr auto values =
      std::tuple{enumerator("glad", Mood::glad), enumerator("neutral", Mood::neutral),
                 enumerator("angry", Mood::angry)};
};
template <>
struct moderato::Describe<Complaint> {
  static constexpr auto fields =
      std::tuple{field("product", &Complaint::product), field("mood", &Complaint::mood),
                 field("urgency", &Complaint::urgency, "From 1 to 5").between(1, 5),
                 field("problems", &Complaint::problems, "One short line each")};
};

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const AssistantAgent clerk({.name = "clerk",
                              .system_message = "Turn a customer's letter into a form.",
                              .model = runtime.model(openai(endpoint.model("clerk")))});

  const Result<Complaint> complaint = ask_for<Complaint>(
      clerk, "My Fjell flask leaks, and the lid broke on the first day! I leave on Monday.");
  if (!complaint) {
    fmt::print("No complaint: {}\n", to_string(complaint.error()));
    return 1;
  }
  fmt::print("{}, urgency {} of 5{}\n", complaint->product, complaint->urgency,
             complaint->mood == Mood::angry ? ", an angry customer" : "");
  for (const std::string& problem : complaint->problems) fmt::print("- {}\n", problem);
}
