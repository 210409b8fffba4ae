#include <moderato/core/budget.hpp>

#include <doctest/doctest.h>

#include <thread>
#include <vector>

namespace moderato {
namespace {

TEST_CASE("the output cap is lowered to what is left") {
  const auto budget = TokenBudget::make(1000);
  auto first = budget->reserve(600, 500);
  REQUIRE(first.has_value());
  CHECK(first->output_cap() == 400);
  CHECK(budget->left() == 0);
  first->settle(650);
  CHECK(budget->spent() == 650);
  CHECK(budget->left() == 350);
}

TEST_CASE("a call that does not fit is refused with the numbers") {
  const auto budget = TokenBudget::make(100);
  const auto refused = budget->reserve(100, 50);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ErrorCode::budget_exhausted);
  CHECK(refused.error().message.find("100 prompt tokens") != std::string::npos);
  CHECK(budget->reserved() == 0);
}

TEST_CASE("a reservation that is dropped gives everything back, once") {
  const auto budget = TokenBudget::make(100);
  {
    auto reservation = *budget->reserve(10, 20);
    auto moved = std::move(reservation);
    CHECK(budget->reserved() == 30);
  }
  CHECK(budget->reserved() == 0);
  CHECK(budget->spent() == 0);
  auto settled = *budget->reserve(10, 20);
  settled.settle(25);
  settled.refund();
  CHECK(budget->spent() == 25);
}

TEST_CASE("an unknown outcome charges the whole reservation") {
  const auto budget = TokenBudget::make(100);
  budget->reserve(10, 20)->settle_all();
  CHECK(budget->spent() == 30);
}

TEST_CASE("the final answer has its share set aside, for one call") {
  const auto budget = TokenBudget::make({.total = 100, .final_answer_reserve = 40});
  CHECK(budget->left() == 60);
  CHECK_FALSE(budget->reserve(60, 10).has_value());
  auto ordinary = *budget->reserve(50, 10);
  ordinary.settle_all();
  CHECK_FALSE(budget->reserve(1, 1).has_value());
  auto last = budget->reserve_final(30, 100);
  REQUIRE(last.has_value());
  CHECK(last->output_cap() == 10);
  last->settle_all();
  CHECK(budget->spent() == 100);
  CHECK_FALSE(budget->reserve_final(1, 1).has_value());
}

TEST_CASE("a final answer that cost nothing has its share set aside again for the retry") {
  const auto budget = TokenBudget::make({.total = 100, .final_answer_reserve = 40});
  auto refused = *budget->reserve_final(30, 10);
  CHECK(budget->left() == 60);
  refused.refund();
  CHECK(budget->left() == 60);
  auto others = *budget->reserve(40, 100);
  CHECK(others.output_cap() == 20);
  auto again = budget->reserve_final(30, 10);
  REQUIRE(again.has_value());
  again->settle(35);
  others.settle(50);
  CHECK(budget->left() == 15);
}

TEST_CASE("a refusal shows the numbers of the budget that has no room") {
  const auto tenant = TokenBudget::make({.total = 100, .final_answer_reserve = 10});
  const auto chat = TokenBudget::make({.total = 80, .parent = tenant});
  tenant->charge(70);
  const auto refused = chat->reserve(20, 5);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message ==
        "the call needs 20 prompt tokens and at least 1 for the reply, but 20 of 100 in the shared "
        "budget are left (70 spent, 0 in calls under way, 10 set aside for the final answer)");
}

TEST_CASE("a child draws on its parent, and a reservation holds in both or in neither") {
  const auto tenant = TokenBudget::make(100);
  const auto chat = TokenBudget::make({.total = 80, .parent = tenant});
  const auto other = TokenBudget::make({.total = 80, .parent = tenant});
  auto a = *chat->reserve(50, 10);
  CHECK(tenant->reserved() == 60);
  auto b = other->reserve(20, 60);
  REQUIRE(b.has_value());
  CHECK(b->output_cap() == 20);
  CHECK_FALSE(chat->reserve(10, 5).has_value());
  CHECK(chat->reserved() == 60);
  a.settle(30);
  CHECK(tenant->spent() == 30);
  CHECK(chat->spent() == 30);
  CHECK(chat->left() == 30);
}

TEST_CASE("more than was reserved is charged and shows as overrun") {
  const auto budget = TokenBudget::make(100);
  budget->reserve(50, 50)->settle(130);
  CHECK(budget->spent() == 130);
  CHECK(budget->overrun() == 30);
  CHECK(budget->left() == 0);
}

TEST_CASE("threads together never take more than the total") {
  const auto tenant = TokenBudget::make(50'000);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&tenant] {
      const auto chat = TokenBudget::make({.total = 30'000, .parent = tenant});
      for (int i = 0; i < 2000; ++i) {
        auto reservation = chat->reserve(7, 13);
        if (!reservation) break;
        if (i % 3 == 0) {
          reservation->refund();
        } else {
          reservation->settle(reservation->tokens());
        }
      }
    });
  }
  threads.clear();
  CHECK(tenant->spent() <= 50'000);
  CHECK(tenant->spent() > 49'900);
  CHECK(tenant->reserved() == 0);
}

TEST_CASE("impossible budgets are refused at construction") {
  CHECK_THROWS_AS((void)TokenBudget::make(-1), std::invalid_argument);
  CHECK_THROWS_AS((void)TokenBudget::make({.total = 10, .final_answer_reserve = 11}),
                  std::invalid_argument);
}

TEST_CASE("what a child sets aside for its final answer is kept in its ancestors, too") {
  const auto tenant = TokenBudget::make(100);
  {
    const auto chat =
        TokenBudget::make({.total = 80, .final_answer_reserve = 30, .parent = tenant});
    const auto other = TokenBudget::make({.total = 100, .parent = tenant});
    CHECK(tenant->left() == 70);
    auto greedy = *other->reserve(60, 100);
    CHECK(greedy.output_cap() == 10);
    greedy.settle_all();
    CHECK_FALSE(chat->reserve(1, 1).has_value());
    CHECK(chat->left_for_final_answer() == 30);
    auto refused = *chat->reserve_final(20, 100);
    CHECK(refused.output_cap() == 10);
    refused.refund();
    CHECK_FALSE(other->reserve(1, 1).has_value());
    auto last = *chat->reserve_final(20, 100);
    last.settle(25);
    CHECK(tenant->spent() == 95);
    CHECK(tenant->left() == 5);
  }
  const auto unused = TokenBudget::make({.total = 80, .final_answer_reserve = 3, .parent = tenant});
  CHECK(tenant->left() == 2);
}

TEST_CASE("a budget that ends gives its ancestors back what it had set aside") {
  const auto tenant = TokenBudget::make(100);
  (void)TokenBudget::make({.total = 80, .final_answer_reserve = 30, .parent = tenant});
  CHECK(tenant->left() == 100);
  const auto chat =
      TokenBudget::make({.total = 200, .final_answer_reserve = 150, .parent = tenant});
  CHECK(chat->left_for_final_answer() == 100);
}

}  // namespace
}  // namespace moderato
