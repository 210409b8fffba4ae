#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <moderato/agents/approval.hpp>
#include <moderato/agents/callable_signature.hpp>
#include <moderato/agents/describe.hpp>
#include <moderato/agents/tool_context.hpp>
#include <moderato/agents/tool_types.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

struct ToolOptions {
  /// Runs on the conversation's fiber instead of a worker thread. For tools that neither block nor
  /// need much stack.
  bool runs_inline = false;
  /// Calling it again with the same arguments is no sign of a loop (a poll, a clock).
  bool repeatable = false;
  /// Running it twice does what running it once does: it may be run again after a crash in the
  /// middle.
  bool idempotent = false;
  /// Asks the provider to enforce the schema (OpenAI's strict mode): no additional properties, and
  /// every argument is sent, null for those that may be absent. Maps cannot be described then.
  bool strict = false;
  /// How long it may take: whoever runs it sets ToolContext::deadline accordingly and triggers
  /// ToolContext::stop when the time is up. Zero: no limit.
  Duration timeout{};
  /// How often it is run when it fails, waiting `retry_delay` before the second time and twice as
  /// long before each further one. Wrong arguments and a timeout are not tried again. More than
  /// once is for tools that are `idempotent`.
  int max_attempts = 1;
  Duration retry_delay = std::chrono::milliseconds(500);
  /// Whether it may run at all.
  Approval approval{};
  /// For the library's own tools: it runs on the conversation's fiber, and what it does is recorded
  /// effect by effect instead of as one result.
  bool acts_in_session = false;
  /// A longer result is cut, and says so. 0: no limit.
  std::size_t max_result_bytes = 100'000;
};

/// What a tool does: arguments in, text out. Gets a JSON object; runs for many conversations at
/// once.
using ToolFunction = std::function<Result<std::string>(const Json& arguments, const ToolContext&)>;

/// A tool in its raw form, for arguments that are described elsewhere (a file, a server).
struct RawTool {
  ToolDefinition definition{};
  /// Empty: the tool is only declared, somebody else runs it.
  ToolFunction function{};
  ToolOptions options{};  ///< `strict` is the definition's.
  UnknownProperties unknown_arguments = UnknownProperties::as_schema_says;
};

/// Something that a model may ask to have done. An immutable value, cheap to copy, safe to use from
/// any thread. Made from a C++ callable with tool(), or from a RawTool.
class Tool {
 public:
  /// Throws std::invalid_argument: a name that is not ^[a-zA-Z0-9_-]{1,64}$, or parameters that are
  /// neither null nor a JSON Schema of type object.
  ///
  /// Also for max_attempts < 1, and more than one for a tool that is not idempotent.
  explicit Tool(RawTool raw);

  [[nodiscard]] const ToolDefinition& definition() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept { return definition().name; }
  [[nodiscard]] const ToolOptions& options() const noexcept;
  [[nodiscard]] bool runs_inline() const noexcept { return options().runs_inline; }
  [[nodiscard]] bool repeatable() const noexcept { return options().repeatable; }
  [[nodiscard]] bool idempotent() const noexcept { return options().idempotent; }
  [[nodiscard]] Duration timeout() const noexcept { return options().timeout; }
  /// False for a tool that is only declared.
  [[nodiscard]] bool has_function() const noexcept;

  /// Runs the tool on the calling thread with a model's own text of the arguments. Never throws.
  ///
  /// The text is repaired if it is no JSON as it stands (repair_json), then checked against the
  /// definition's schema (check_json); an empty text stands for no arguments if none is required.
  /// Every failure (bad JSON, wrong arguments, no function, an exception, the tool's own error) is
  /// an error tool_failed whose message is meant for the model to read; `cancelled` stays what it
  /// is.
  [[nodiscard]] Result<std::string> call(std::string_view arguments_json,
                                         const ToolContext& context = {}) const;
  /// Whether call() would get as far as running the tool; the error is what it would give.
  [[nodiscard]] Result<void> check(std::string_view arguments_json) const;

 private:
  std::shared_ptr<const RawTool> raw_;
};

/// What a model is told about one parameter of a callable. Made with arg().
struct Arg {
  std::string name{};
  std::string description{};
  Json default_value{};  ///< Null: none.
  NumberRange range{};

  /// The argument may be left out; the callable then gets `value`.
  template <class T>
  [[nodiscard]] Arg by_default(const T& value) && {
    if constexpr (std::convertible_to<const T&, std::string_view>) {
      default_value = std::string_view(value);
    } else {
      default_value = ToolType<T>::write(value);
    }
    return std::move(*this);
  }
  /// Bounds of a number, both inclusive.
  [[nodiscard]] Arg between(double least, double most) && {
    range = {least, most};
    return std::move(*this);
  }
};

[[nodiscard]] inline Arg arg(std::string name, std::string description = {}) {
  return {.name = std::move(name), .description = std::move(description)};
}

/// A tool from a C++ callable: the JSON Schema comes from the parameter types, the rest from one
/// arg() for each parameter in order, followed by ToolOptions if the defaults do not fit:
///
///     tool("get_weather", "Current weather in a city",
///          [](std::string city, bool celsius) { return look_up(city, celsius); },
///          arg("city", "City name"), arg("celsius").by_default(true),
///          ToolOptions{.idempotent = true})
///
/// Parameters may be of any type with a ToolType; a std::optional one may be left out. In addition
/// the callable may take a `const ToolContext&` first or last. It returns nothing, a text, or a
/// value of such a type, or a Result of these; it may throw. It runs in many conversations at once,
/// so it is called as a const object.
///
/// Throws std::invalid_argument as Tool does, and for two arguments of one name, a default that
/// does not fit its parameter, a range on what is no number, and a map in a strict tool.
template <class F, class... More>
[[nodiscard]] Tool tool(std::string name, std::string description, F function, More... more);

namespace detail {

/// One parameter as the model sees it.
struct Parameter {
  const Arg& arg;
  Json schema;
  bool optional;  ///< By its type.
};

/// Throws std::invalid_argument.
[[nodiscard]] ToolDefinition define_tool(std::string name, std::string description, bool strict,
                                         const std::vector<Parameter>& parameters);
/// What came for `arg`, else its default, else null.
[[nodiscard]] const Json& find_argument(const Json& arguments, const Arg& arg);
[[noreturn]] void throw_wrong_argument(const Arg& arg, const std::exception& why);

template <class T>
[[nodiscard]] T read_argument(const Json& arguments, const Arg& arg) {
  try {
    return ToolType<T>::read(find_argument(arguments, arg));
  } catch (const std::exception& error) {
    throw_wrong_argument(arg, error);
  }
}

template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<Result<T>> = true;

template <class Call>
[[nodiscard]] Result<std::string> text_from(Call&& call) {
  using Returned = std::remove_cvref_t<decltype(call())>;
  if constexpr (std::is_void_v<Returned>) {
    call();
    return "null";
  } else if constexpr (is_result<Returned>) {
    auto result = call();
    if (!result) return fail(std::move(result).error());
    if constexpr (std::is_void_v<typename Returned::value_type>) {
      return "null";
    } else {
      return result_text_of(*result);
    }
  } else {
    return result_text_of<Returned>(call());
  }
}

}  // namespace detail

template <class F, class... More>
Tool tool(std::string name, std::string description, F function, More... more) {
  using Parameters = detail::ParametersOf<F>;
  using Values = typename Parameters::Values;
  static_assert((std::size_t{std::same_as<More, Arg>} + ... + 0) == Parameters::count,
                "give one arg(...) for each parameter of the callable, ToolContext aside");
  std::vector<Arg> args;
  ToolOptions options;
  [[maybe_unused]] const auto take = [&]<class T>(T& given) {
    static_assert(std::same_as<T, Arg> || std::same_as<T, ToolOptions>);
    if constexpr (std::same_as<T, Arg>) {
      args.push_back(std::move(given));
    } else {
      options = std::move(given);
    }
  };
  (take(more), ...);

  constexpr auto indexes = std::make_index_sequence<Parameters::count>();
  const auto parameters = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::vector<detail::Parameter>{{args[I],
                                           ToolType<std::tuple_element_t<I, Values>>::schema(),
                                           is_optional<std::tuple_element_t<I, Values>>}...};
  };
  ToolDefinition definition = detail::define_tool(std::move(name), std::move(description),
                                                  options.strict, parameters(indexes));
  auto run = [function = std::move(function), args = std::move(args), indexes](
                 const Json& arguments, const ToolContext& context) -> Result<std::string> {
    Values values = [&]<std::size_t... I>(std::index_sequence<I...>) {
      return Values{detail::read_argument<std::tuple_element_t<I, Values>>(arguments, args[I])...};
    }
    (indexes);
    return detail::text_from(
        [&]() -> decltype(auto) { return Parameters::call(function, std::move(values), context); });
  };
  return Tool(RawTool{.definition = std::move(definition),
                      .function = std::move(run),
                      .options = options,
                      .unknown_arguments = UnknownProperties::wrong});
}

}  // namespace moderato
