// holdfast-bench: measures one part of Holdfast. BENCHMARKS.md says what the fields mean.
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "tests/bench/bench.h"

namespace {

using namespace holdfast;
using namespace holdfast::bench;

enum class Exit : int { good = 0, bad = 1, no_verdict = 2 };

std::string names() {
  std::string all;
  for (const Benchmark& benchmark : benchmarks()) all += fmt::format("{}{}", all.empty() ? "" : ", ", benchmark.name);
  return all;
}

std::string machine() {
  std::string processor = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      processor = line.substr(line.find(':') + 2);
      break;
    }
  }
  utsname system{};
  uname(&system);
  return fmt::format("{}, {} cores, {} {}", processor, std::thread::hardware_concurrency(), system.sysname, system.release);
}

template <typename T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

void print_json(const Figure& figure, const std::string& bench, const std::string& machine) {
  nlohmann::ordered_json line;
  line["bench"] = bench;
  line["case"] = figure.name;
  line["value"] = figure.value;
  line["unit"] = figure.unit;
  line["of"] = or_null(figure.of);
  line["ratio"] = figure.of ? nlohmann::ordered_json(figure.value / *figure.of) : nlohmann::ordered_json();
  line["bytes"] = or_null(figure.bytes);
  line["dtype"] = figure.dtype.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(figure.dtype);
  line["command"] = "./run bench " + bench + " --json";
  line["machine"] = figure.device.empty() ? machine : machine + ", " + figure.device;
  fmt::print("{}\n", line.dump());
}

void print_row(const Figure& figure) {
  fmt::print("{:26} {:>16.6g} {:12}", figure.name, figure.value, figure.unit);
  if (figure.of) fmt::print(" of {:>8.6g}: {:.2f}", *figure.of, figure.value / *figure.of);
  fmt::print("\n");
}

Exit run(const std::string& name, Request request, bool json) {
  for (const Benchmark& benchmark : benchmarks()) {
    if (name != benchmark.name) continue;
    std::size_t reported = 0;
    request.report = [&, machine = machine()](const Figure& figure) {
      json ? print_json(figure, name, machine) : print_row(figure);
      std::fflush(stdout);
      ++reported;
    };
    const Status done = benchmark.run(request);
    if (!done && done.error().code == ErrorCode::unsupported) {
      fmt::print(stderr, "SKIPPED {}: {}\n", name, done.error());
      return Exit::no_verdict;
    }
    if (!done) {
      fmt::print(stderr, "holdfast-bench {}: {}\n", name, done.error());
      return Exit::bad;
    }
    if (reported != 0) return Exit::good;
    fmt::print(stderr, "holdfast-bench {}: nothing of size {}\n", name, fmt::join(request.only, ", "));
    return Exit::no_verdict;
  }
  fmt::print(stderr, "holdfast-bench: no benchmark \"{}\"; there are: {}\n", name, names());
  return Exit::no_verdict;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures one part of Holdfast.", "holdfast-bench"};
  std::string name;
  Request request;
  bool json = false;
  app.add_option("name", name, "what to measure: " + names())->required();
  app.add_flag("--json", json, "one JSON object a line");
  app.add_option("--only", request.only, "sizes to measure, as they end the cases' names: ranks=4,405b@8960")->delimiter(',');
  app.add_flag("--quick", request.quick, "every case once and briefly: shows that it works, measures nothing");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::no_verdict);
  }
  return static_cast<int>(run(name, std::move(request), json));
}
