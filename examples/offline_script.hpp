#pragma once

namespace example {

/// What the simulated provider says in the examples: the first rule that holds answers. `turn`
/// counts the replies of one agent, from 1.
inline constexpr const char* offline_script = R"({"rules": [
  {"when": {"model": "critic", "contains": "all day"},
   "reply": "How long is \"all day\"? Say the hours, so that a buyer can check it."},
  {"when": {"model": "critic"}, "reply": "Short, and a promise that can be checked. APPROVED"},
  {"when": {"model": "writer", "contains": "hours"},
   "reply": "Filled at dawn, still hot at dusk: the Fjell flask keeps tea at 65 °C for twelve hours."},
  {"when": {"model": "writer"}, "reply": "The Fjell flask keeps your tea hot all day."},

  {"when": {"model": "rocket", "turn": 1}, "reply": "Three."},
  {"when": {"model": "rocket", "turn": 2}, "reply": "Two."},
  {"when": {"model": "rocket", "turn": 3}, "reply": "One."},
  {"when": {"model": "rocket"}, "reply": "Lift-off! DONE"},

  {"when": {"model": "guide", "turn": 1},
   "reply": "Oslo lies at the head of a fjord. Start at the opera house and walk up its roof: from there you see the harbour, the islands and the hills."},
  {"when": {"model": "guide", "turn": 2},
   "reply": "Then take a boat to the islands. Hovedøya has the ruins of a monastery and good places to swim; Gressholmen has rabbits and an old inn."},
  {"when": {"model": "guide", "contains": "answer"},
   "reply": "In short: the opera roof, a boat to Hovedøya, an evening on the hills."},
  {"when": {"model": "guide"},
   "reply": "In the evening ride up to the hills by tram. The forest begins at the last stop, and the view over the fjord is best at sunset."},

  {"when": {"model": "judge", "contains": "love"}, "reply": "glad"},
  {"when": {"model": "judge", "contains": "broke"}, "reply": "angry"},
  {"when": {"model": "judge", "contains": "late"}, "reply": "angry"},
  {"when": {"model": "judge"}, "reply": "neutral"},

  {"when": {"model": "forecaster", "role": "tool"},
   "reply": "Oslo will be cold, Rome warm: pack a coat for the north and a shirt for the south. TERMINATE"},
  {"when": {"model": "forecaster"},
   "tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo", "celsius": true}},
                  {"name": "get_weather", "arguments": {"city": "Rome"}}]},

  {"when": {"model": "poet", "contains": "shorter"}, "reply": "Rain. The pond counts it."},
  {"when": {"model": "poet"},
   "reply": "Rain on the old pond,\nring after ring after ring:\nnobody counts them."}
]})";

}  // namespace example
