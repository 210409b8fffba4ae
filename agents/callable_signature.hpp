#pragma once

#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include <moderato/agents/tool_context.hpp>
#include <moderato/agents/tool_types.hpp>

namespace moderato::detail {

/// The parameters of a tool's callable: those that the model fills, in order, and perhaps a
/// ToolContext before or after them.
template <class... P>
struct Parameters {
  static constexpr std::array<bool, sizeof...(P) + 1> is_context{
      std::is_same_v<std::remove_cvref_t<P>, ToolContext>..., false};
  static constexpr bool context_first = is_context[0];
  static constexpr bool context_last = sizeof...(P) > 1 && is_context[sizeof...(P) - 1];
  /// How many the model fills.
  static constexpr std::size_t count =
      sizeof...(P) - (context_first ? 1 : 0) - (context_last ? 1 : 0);

  template <std::size_t... I>
  static auto filled(std::index_sequence<I...>)
      -> std::tuple<ToolValue<std::tuple_element_t<I + context_first, std::tuple<P...>>>...>;
  /// Values of the parameters that the model fills.
  using Values = decltype(filled(std::make_index_sequence<count>()));

  template <class F>
  static decltype(auto) call(const F& function, Values&& values, const ToolContext& context) {
    return std::apply(
        [&](auto&... value) -> decltype(auto) {
          if constexpr (context_first) {
            return function(context, std::move(value)...);
          } else if constexpr (context_last) {
            return function(std::move(value)..., context);
          } else {
            return function(std::move(value)...);
          }
        },
        values);
  }
};

/// ParametersOf<F>: of a function or of an object with one call operator.
template <class F>
struct Signature : Signature<decltype(&F::operator())> {};
template <class R, class... P>
struct Signature<R (*)(P...)> {
  using Type = Parameters<P...>;
};
template <class R, class... P>
struct Signature<R (*)(P...) noexcept> : Signature<R (*)(P...)> {};
template <class C, class R, class... P>
struct Signature<R (C::*)(P...) const> : Signature<R (*)(P...)> {};
template <class C, class R, class... P>
struct Signature<R (C::*)(P...) const noexcept> : Signature<R (*)(P...)> {};
template <class C, class R, class... P>
struct Signature<R (C::*)(P...)> {
  static_assert(sizeof(C) == 0, "a tool runs in many conversations at once: no mutable lambda");
  using Type = Parameters<P...>;
};

template <class F>
using ParametersOf = typename Signature<F>::Type;

}  // namespace moderato::detail
