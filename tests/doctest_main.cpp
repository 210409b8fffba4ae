#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>

// main of every suite. MODERATO_TEST_CASE chooses test cases by a pattern, as --test-case does:
// tests/run sets it for all suites at once.
int main(int argc, char** argv) {
  doctest::Context context;
  if (const char* pattern = std::getenv("MODERATO_TEST_CASE")) {
    context.addFilter("test-case", pattern);
  }
  context.applyCommandLine(argc, argv);
  return context.run();
}
