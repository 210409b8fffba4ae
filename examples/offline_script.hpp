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

  {"when": {"model": "editor", "contains": "['physicist', 'cook', 'host']"},
   "reply": "{\"speaker\": \"physicist\"}"},
  {"when": {"model": "editor", "contains": "['cook', 'host']"}, "reply": "{\"speaker\": \"cook\"}"},
  {"when": {"model": "editor"}, "reply": "{\"speaker\": \"host\"}"},
  {"when": {"model": "physicist"},
   "reply": "Salt in water raises its boiling point, but a spoonful by less than a tenth of a degree."},
  {"when": {"model": "cook"},
   "reply": "So the salt is there for the taste: add it when the water boils, before the noodles."},
  {"when": {"model": "host"},
   "reply": "There we have it: salt is for the noodles, not for the pot. TERMINATE"},

  {"when": {"model": "researcher"},
   "reply": "Bees find flowers by colour and scent; they see ultraviolet marks that we do not."},
  {"when": {"model": "storyteller"},
   "reply": "A bee reads signs on petals that are invisible to us, and follows them to the honey."},
  {"when": {"model": "checker"}, "reply": "One mistake: it finds nectar there, not honey."},
  {"when": {"model": "fixer"},
   "reply": "A bee reads signs on petals that are invisible to us, and follows them to the nectar."},

  {"when": {"model": "triage"},
   "tool_calls": [{"name": "transfer_to_billing", "arguments": {"message": "charged twice"}}]},
  {"when": {"model": "billing", "contains": "refunded"},
   "reply": "I have returned the second payment for A-17; it is on its way. Is there anything else?"},
  {"when": {"model": "billing"}, "tool_calls": [{"name": "refund", "arguments": {"order": "A-17"}}]},

  {"when": {"model": "planner"}, "reply": "A weekend in Bergen in May."},
  {"when": {"model": "trains"}, "reply": "Train from Oslo at 08:25, seven hours over the mountains."},
  {"when": {"model": "rooms", "turn": 1}, "reply": "A room at the harbour, 2,400 a night."},
  {"when": {"model": "rooms"}, "reply": "A room behind the station, 1,100 a night."},
  {"when": {"model": "purse", "contains": "1,100"}, "reply": "AFFORDABLE: train and room are within 5,000."},
  {"when": {"model": "purse"}, "reply": "TOO DEAR: find a cheaper room."},
  {"when": {"model": "agent"},
   "reply": "Booked: the 08:25 to Bergen, and two nights behind the station."},

  {"when": {"model": "programmer", "turn": 1},
   "reply": "```sh\nseq 1 100 | paste -sd+ | sed 's/$/;/' | sh\n```"},
  {"when": {"model": "programmer", "turn": 2},
   "reply": "The shell ran the sum as a command. It needs arithmetic:\n```sh\necho $(($(seq -s + 1 100)))\n```"},
  {"when": {"model": "programmer"}, "reply": "It prints 5050, which is 100 * 101 / 2. FINISHED"},
  {"when": {"model": "reviewer"},
   "reply": "`seq -s` builds one long expression, which is fine for 100 numbers and not for 10 million."},

  {"when": {"model": "clerk", "turn": 1},
   "reply": "{\"product\": \"Fjell flask\", \"mood\": \"furious\", \"urgency\": 4, \"problems\": [\"it leaks\", \"the lid broke\"]}"},
  {"when": {"model": "clerk"},
   "reply": "{\"product\": \"Fjell flask\", \"mood\": \"angry\", \"urgency\": 4, \"problems\": [\"it leaks\", \"the lid broke\"]}"},

  {"when": {"model": "poet", "contains": "shorter"}, "reply": "Rain. The pond counts it."},
  {"when": {"model": "poet"},
   "reply": "Rain on the old pond,\nring after ring after ring:\nnobody counts them."}
]})";

}  // namespace example
