#pragma once

// All of moderato's public headers.

#include <moderato/agents/assistant_agent.hpp>
#include <moderato/agents/code_execution/command_line_executor.hpp>
#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/graph/graph_agent.hpp>
#include <moderato/agents/group/group_chat_manager.hpp>
#include <moderato/agents/handoff/handoff.hpp>
#include <moderato/agents/party.hpp>
#include <moderato/agents/planner/planner_agent.hpp>
#include <moderato/agents/sequence/initiate_chats.hpp>
#include <moderato/agents/sequence/nested_chats.hpp>
#include <moderato/agents/structured_output.hpp>
#include <moderato/agents/tool.hpp>
#include <moderato/agents/transforms/compression.hpp>
#include <moderato/agents/transforms/content_name.hpp>
#include <moderato/agents/transforms/history_limiter.hpp>
#include <moderato/agents/transforms/token_limiter.hpp>
#include <moderato/agents/user_proxy_agent.hpp>
#include <moderato/core/console_printer.hpp>
#include <moderato/core/doctor/diagnosis.hpp>
#include <moderato/core/effect.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <moderato/core/ledger_totals.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/session.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/core/version.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/providers/openai.hpp>
#include <moderato/llm/providers/scripted.hpp>
#include <moderato/llm/providers/simulated.hpp>
#include <moderato/termination/condition.hpp>
