// Save and load by ranks that are processes, over TCP and files; one of them is killed or stopped at a random moment. The test is the
// launcher: it starts this same program again as a worker, with the variables that a launcher sets.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <thread>

#include "impl/api/holdfast.h"
#include "tests/impl/backend/tcp/free_port.h"
#include "tests/impl/backend/temporary_directory.h"

namespace holdfast {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using Clock = std::chrono::steady_clock;

constexpr int world_size = 4;
constexpr std::int64_t rows = 4 * 1024, columns = 16;
constexpr auto save_limit = 4s;
constexpr const char* folder_variable = "HOLDFAST_TEST_FOLDER";
constexpr const char* steps_variable = "HOLDFAST_TEST_STEPS";

// ---- the worker ----------------------------------------------------------------------------------------------------------------------

/// The rows of one rank. Step s holds s + row everywhere.
struct Trainer {
  std::vector<std::int64_t> memory;
  std::int64_t first = 0;
  StateDict state;

  Trainer(Rank rank, int ranks) {
    ChunkLayout layout{0, {}};
    for (Rank placed{0}; placed.value < ranks; ++placed.value) layout.placements.push_back(placed);
    const ChunkSplit split = chunk_split(rows, ranks);
    first = split.begin(rank.value);
    memory.resize(static_cast<std::size_t>(split.size(rank.value) * columns));
    CHECK(state.add("rows", reinterpret_cast<std::byte*>(memory.data()), DType::i64, {rows, columns}, layout, rank), "a tensor of rows");
  }
  void set(std::int64_t step) {
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = value(step, i);
  }
  bool holds(std::int64_t step) const {
    for (std::size_t i = 0; i < memory.size(); ++i) {
      if (memory[i] != value(step, i)) return false;
    }
    return true;
  }

 private:
  std::int64_t value(std::int64_t step, std::size_t i) const { return step * 1'000'000 + first + static_cast<std::int64_t>(i) / columns; }
};

Status save_steps(Job& job, Checkpoints& checkpoints, std::int64_t steps) {
  Trainer trainer(job.rank(), job.world_size());
  for (std::int64_t step = 1; step <= steps; ++step) {
    trainer.set(step);
    const auto saved = checkpoints.save(trainer.state, {.step = Step{step}, .deadline = save_limit});
    if (!saved) return fail(to_error(saved.error()));
    std::cout << "saved " << step << std::endl;
  }
  trainer.set(0);
  const auto loaded = checkpoints.load(trainer.state, {.deadline = save_limit});
  if (!loaded) return fail(to_error(loaded.error()));
  std::cout << "loaded " << loaded->directory << (trainer.holds(steps) ? "" : ", other values") << std::endl;
  return {};
}

Status work() {
  const std::unique_ptr<Job> job = TRY(Job::from_launcher(30s));
  const std::unique_ptr<Checkpoints> checkpoints = TRY(Checkpoints::open(*job, std::getenv(folder_variable)));
  const Status done = save_steps(*job, *checkpoints, std::atoll(std::getenv(steps_variable)));
  const Status closed = job->close(job->clock().after(1s));  // of a job with a stopped rank it cannot be orderly
  return done ? closed : done;
}

int worker_main() {
  const Status worked = work();
  std::cout << (worked ? "done" : "error: " + worked.error().message) << std::endl;
  std::cout.flush();
  ::_exit(worked ? 0 : 3);  // without waiting for what hangs
}

// ---- the launcher --------------------------------------------------------------------------------------------------------------------

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

enum class Launched : std::uint8_t { by_variables, by_torchrun };

/// The processes of one job. Whatever still runs at the end is killed.
class Workers {
 public:
  Workers(const std::string& folder, std::int64_t steps, Launched launched = Launched::by_variables)
      : folder_(folder), launched_(launched) {
    const std::uint16_t port = test::free_port();
    for (int rank = 0; rank < world_size; ++rank) start(rank, port, steps);
  }
  ~Workers() {
    for (int rank = 0; rank < world_size; ++rank) {
      if (running(rank)) signal(rank, SIGKILL);
      while (running(rank)) std::this_thread::sleep_for(1ms);
    }
  }

  void signal(int rank, int number) { ASSERT_EQ(::kill(processes_[static_cast<std::size_t>(rank)], number), 0); }
  std::string output(int rank) const { return read_file(path(rank)); }
  /// The highest step that any rank was told is saved.
  std::int64_t acknowledged() const {
    std::int64_t highest = 0;
    for (int rank = 0; rank < world_size; ++rank) {
      std::istringstream lines(output(rank));
      for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("saved ")) highest = std::max<std::int64_t>(highest, std::atoll(line.c_str() + 6));
      }
    }
    return highest;
  }
  bool running(int rank) {
    pid_t& process = processes_[static_cast<std::size_t>(rank)];
    if (process > 0 && ::waitpid(process, &status_[static_cast<std::size_t>(rank)], WNOHANG) == process) process = 0;
    return process > 0;
  }
  /// False when one of the ranks still runs after `limit`.
  bool ended(std::initializer_list<int> but, Clock::duration limit) {
    const auto until = Clock::now() + limit;
    for (int rank = 0; rank < world_size; ++rank) {
      if (std::ranges::find(but, rank) != but.end()) continue;
      while (running(rank)) {
        if (Clock::now() > until) return false;
        std::this_thread::sleep_for(1ms);
      }
    }
    return true;
  }
  int exit_code(int rank) const { return WEXITSTATUS(status_[static_cast<std::size_t>(rank)]); }
  std::string all_output() const {
    std::string text;
    for (int rank = 0; rank < world_size; ++rank) text += fmt::format("rank {}:\n{}", rank, output(rank));
    return text;
  }

 private:
  std::string path(int rank) const { return fmt::format("{}/output-{}", folder_, rank); }

  std::vector<std::string> variables_of(int rank, std::uint16_t port) const {
    if (launched_ == Launched::by_torchrun) {
      return {fmt::format("RANK={}", rank), fmt::format("WORLD_SIZE={}", world_size), fmt::format("LOCAL_RANK={}", rank),
              "MASTER_ADDR=localhost",      fmt::format("MASTER_PORT={}", port - 1),  "TORCHELASTIC_RUN_ID=none"};
    }
    return {fmt::format("HOLDFAST_RANK={}", rank), fmt::format("HOLDFAST_WORLD_SIZE={}", world_size), "HOLDFAST_MASTER_ADDR=127.0.0.1",
            fmt::format("HOLDFAST_PORT={}", port), "HOLDFAST_JOB_SECRET=the secret of these processes"};
  }
  void start(int rank, std::uint16_t port, std::int64_t steps) {
    std::vector<std::string> variables = variables_of(rank, port);
    variables.push_back(fmt::format("{}={}/checkpoints", folder_variable, folder_));
    variables.push_back(fmt::format("{}={}", steps_variable, steps));
    if (const char* options = std::getenv("ASAN_OPTIONS")) variables.push_back(fmt::format("ASAN_OPTIONS={}", options));
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    const std::string output = path(rank);
    char name[] = "procs_test";
    char* arguments[] = {name, nullptr};
    const pid_t process = ::fork();
    ASSERT_GE(process, 0);
    if (process == 0) {
      const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
      ::execve("/proc/self/exe", arguments, environment.data());
      ::_exit(127);
    }
    processes_.push_back(process);
    status_.push_back(0);
  }

  std::string folder_;
  Launched launched_;
  std::vector<pid_t> processes_;
  std::vector<int> status_;
};

void wait_for_a_save(const Workers& workers) {
  const auto until = Clock::now() + 60s;
  while (workers.acknowledged() == 0) {
    ASSERT_LT(Clock::now(), until) << workers.all_output();
    std::this_thread::sleep_for(1ms);
  }
}

/// Loads the newest checkpoint with a job of one: intact, and none that was told to be saved is lost.
Status nothing_lost(const std::string& folder, std::int64_t acknowledged) {
  const auto job = Job::alone();
  const auto checkpoints = TRY(Checkpoints::open(*job, folder + "/checkpoints"));
  Trainer trainer(Rank{0}, 1);
  const auto loaded = checkpoints->load(trainer.state);
  if (!loaded) return fail(to_error(loaded.error()));
  if (!loaded->skipped.empty()) return fail(ErrorCode::corrupt, "passed over: {}", loaded->skipped.front());
  const std::int64_t step = std::atoll(loaded->directory.c_str() + std::string("step-").size());
  if (step < acknowledged) return fail(ErrorCode::not_found, "the newest is {}; step {} was acknowledged", loaded->directory, acknowledged);
  if (!trainer.holds(step)) return fail(ErrorCode::corrupt, "{} holds other values", loaded->directory);
  return {};
}

void expect_nothing_lost(const Workers& workers, const std::string& folder) {
  const Status found = nothing_lost(folder, workers.acknowledged());
  EXPECT_TRUE(found) << found.error().message << "\n" << workers.all_output();
}

/// The rank came back with an error, and knew of exactly this rank that it was not heard.
bool blames(const std::string& output, int victim) { return output.ends_with(fmt::format("; not heard from: ranks {}\n", victim)); }

int kills() {
  const char* wanted = std::getenv("HOLDFAST_TEST_KILLS");
  return wanted ? std::atoi(wanted) : 10;
}

TEST(Processes, SaveAndLoad) {
  for (const Launched launched : {Launched::by_variables, Launched::by_torchrun}) {
    const test::TemporaryDirectory directory;
    Workers workers(directory.path(), 3, launched);
    ASSERT_TRUE(workers.ended({}, 60s)) << workers.all_output();
    for (int rank = 0; rank < world_size; ++rank) {
      EXPECT_EQ(workers.exit_code(rank), 0);
      EXPECT_EQ(workers.output(rank), "saved 1\nsaved 2\nsaved 3\nloaded step-3.a3\ndone\n");
    }
    expect_nothing_lost(workers, directory.path());
  }
}

TEST(Processes, TheChecksOfThisFileCanFail) {
  const test::TemporaryDirectory directory;
  {
    Workers workers(directory.path(), 2);
    ASSERT_TRUE(workers.ended({}, 60s)) << workers.all_output();
    EXPECT_EQ(workers.acknowledged(), 2);
  }
  EXPECT_TRUE(nothing_lost(directory.path(), 2));
  EXPECT_EQ(nothing_lost(directory.path(), 3).error().message, "the newest is step-2.a2; step 3 was acknowledged");
  std::ofstream(directory.path() + "/checkpoints/step-2.a2/MANIFEST", std::ios::trunc) << "torn";
  EXPECT_TRUE(nothing_lost(directory.path(), 1).error().message.starts_with("passed over: "))
      << nothing_lost(directory.path(), 1).error().message;
  std::filesystem::remove_all(directory.path() + "/checkpoints/step-2.a2");
  EXPECT_EQ(nothing_lost(directory.path(), 2).error().message, "the newest is step-1.a1; step 2 was acknowledged");
  EXPECT_TRUE(blames("error: save, write: failed; not heard from: ranks 2\n", 2));
  EXPECT_FALSE(blames("error: save, write: failed; not heard from: ranks 2\n", 1));
  EXPECT_FALSE(blames("error: save, write: failed; not heard from: ranks 1,2\n", 2));
}

TEST(Processes, AKilledRankIsNamedAndNothingCommittedIsLost) {
  std::random_device seeds;
  const unsigned seed = seeds();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  std::chrono::milliseconds longest{0};
  for (int i = 0; i < kills(); ++i) {
    const test::TemporaryDirectory directory;
    Workers workers(directory.path(), 1'000'000);
    wait_for_a_save(workers);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 100'000));
    const int victim = static_cast<int>(random() % world_size);
    const auto killed = Clock::now();
    workers.signal(victim, SIGKILL);
    ASSERT_TRUE(workers.ended({victim}, save_limit + 2s)) << "victim " << victim << "\n" << workers.all_output();
    longest = std::max(longest, std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - killed));
    for (int rank = 0; rank < world_size; ++rank) {
      if (rank == victim) continue;
      EXPECT_EQ(workers.exit_code(rank), 3);
      EXPECT_TRUE(blames(workers.output(rank), victim)) << "victim " << victim << ", rank " << rank << ":\n" << workers.output(rank);
    }
    expect_nothing_lost(workers, directory.path());
    if (HasFailure()) return;
  }
  RecordProperty("longest_ms", static_cast<int>(longest.count()));
  std::cout << kills() << " kills, the last survivor was back after at most " << longest.count() << " ms\n";
}

TEST(Processes, AStoppedRankIsNamedByTheDeadlineAndDoesNoHarmWhenItGoesOn) {
  std::random_device seeds;
  const unsigned seed = seeds();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < std::max(kills() / 5, 1); ++i) {
    const test::TemporaryDirectory directory;
    Workers workers(directory.path(), 1'000'000);
    wait_for_a_save(workers);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 100'000));
    const int victim = static_cast<int>(random() % world_size);
    workers.signal(victim, SIGSTOP);
    ASSERT_TRUE(workers.ended({victim}, save_limit + 4s)) << "victim " << victim << "\n" << workers.all_output();
    for (int rank = 0; rank < world_size; ++rank) {
      if (rank == victim) continue;
      EXPECT_EQ(workers.exit_code(rank), 3);
      EXPECT_TRUE(blames(workers.output(rank), victim)) << "victim " << victim << ", rank " << rank << ":\n" << workers.output(rank);
    }
    expect_nothing_lost(workers, directory.path());
    workers.signal(victim, SIGCONT);
    ASSERT_TRUE(workers.ended({}, save_limit + 4s)) << workers.output(victim);
    EXPECT_EQ(workers.exit_code(victim), 3) << workers.output(victim);
    expect_nothing_lost(workers, directory.path());
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace holdfast

int main(int count, char** arguments) {
  if (std::getenv(holdfast::folder_variable)) return holdfast::worker_main();
  testing::InitGoogleTest(&count, arguments);
  return RUN_ALL_TESTS();
}
