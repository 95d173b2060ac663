#include "impl/backend/tcp/rendezvous.h"

#include <gtest/gtest.h>

#include "impl/backend/tcp/node_list.h"

namespace holdfast::backend {
namespace {

std::string told(const Environment& environment) {
  const Result<Rendezvous> found = rendezvous(environment);
  return found ? describe(*found) : found.error().message;
}

const Environment torchrun = {{"RANK", "3"},          {"WORLD_SIZE", "8"},      {"LOCAL_RANK", "1"},
                              {"MASTER_ADDR", "n01"}, {"MASTER_PORT", "29500"}, {"TORCHELASTIC_RUN_ID", "run7"}};
const Environment slurm = {{"SLURM_PROCID", "5"},    {"SLURM_NTASKS", "16"}, {"SLURM_LOCALID", "1"},
                           {"SLURM_JOB_ID", "4242"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NODELIST", "gpu-a[07-09,12]"}};
const Environment openmpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                             {"OMPI_COMM_WORLD_SIZE", "4"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                             {"PMIX_NAMESPACE", "prterun-n01-77@1"}};
const Environment variables = {
    {"HOLDFAST_RANK", "1"}, {"HOLDFAST_WORLD_SIZE", "2"}, {"HOLDFAST_MASTER_ADDR", "10.0.0.1"}, {"HOLDFAST_PORT", "4000"}};

Environment with(Environment environment, const Environment& more) {
  for (const auto& [name, value] : more) environment[name] = value;
  return environment;
}
Environment without(Environment environment, const std::string& name) {
  environment.erase(name);
  return environment;
}

TEST(Rendezvous, AProcessWithoutALauncherIsAlone) {
  EXPECT_EQ(told({}), "rank 0 of 1, told by alone");
  EXPECT_EQ(told({{"PATH", "/bin"}, {"RANK", ""}, {"WORLD_SIZE", ""}}), "rank 0 of 1, told by alone");
  EXPECT_EQ(told({{"SLURM_NTASKS", "16"}, {"SLURM_JOB_ID", "1"}}), "rank 0 of 1, told by alone") << "the shell of an allocation is no task";
}

TEST(Rendezvous, ReadsEveryLauncher) {
  EXPECT_EQ(told(torchrun), "rank 3 of 8, told by torchrun, local rank 1, rank 0 at n01:29501");
  EXPECT_EQ(told(openmpi), fmt::format("rank 1 of 4, told by openmpi, local rank 1, rank 0 at 127.0.0.1:{}", rendezvous(openmpi)->port));
  EXPECT_EQ(told(slurm), fmt::format("rank 5 of 16, told by slurm, local rank 1, rank 0 at gpu-a07:{}", rendezvous(slurm)->port));
  EXPECT_EQ(told(variables), "rank 1 of 2, told by variables, rank 0 at 10.0.0.1:4000");
  EXPECT_EQ(told({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}, {"HOLDFAST_PORT", "7"}}),
            "rank 1 of 2, told by pmi, local rank 1, rank 0 at 127.0.0.1:7");
  EXPECT_EQ(told({{"RANK", "0"}, {"WORLD_SIZE", "1"}}), "rank 0 of 1, told by torchrun") << "alone, it needs nobody's address";
}

TEST(Rendezvous, ThePortFollowsFromTheJobAndIsNoneThatTheSystemGivesOut) {
  const std::uint16_t port = rendezvous(slurm)->port;
  EXPECT_GE(port, 23000);
  EXPECT_LT(port, 31192);
  EXPECT_EQ(rendezvous(with(slurm, {{"SLURM_PROCID", "0"}}))->port, port) << "the same on every rank";
  EXPECT_NE(rendezvous(with(slurm, {{"SLURM_JOB_ID", "4243"}}))->port, port);
}

TEST(Rendezvous, JobsHaveDifferentIds) {
  EXPECT_EQ(rendezvous(torchrun)->job_id, "run7@n01:29501");
  EXPECT_EQ(rendezvous(without(torchrun, "TORCHELASTIC_RUN_ID"))->job_id, "n01:29501");
  EXPECT_EQ(rendezvous(variables)->job_id, "10.0.0.1:4000");
  EXPECT_EQ(rendezvous(with(torchrun, {{"HOLDFAST_JOB_ID", "mine"}}))->job_id, "mine");
  EXPECT_EQ(rendezvous(slurm)->job_id, fmt::format("4242.0@gpu-a07:{}", rendezvous(slurm)->port));
}

TEST(Rendezvous, OursComeBeforeALaunchersOwn) {
  const Environment ours = {{"HOLDFAST_MASTER_ADDR", "ib0"}, {"HOLDFAST_PORT", "77"}, {"HOLDFAST_JOB_SECRET", "sixteen bytes it is"}};
  EXPECT_EQ(told(with(torchrun, ours)), "rank 3 of 8, told by torchrun, local rank 1, rank 0 at ib0:77");
  EXPECT_EQ(rendezvous(with(torchrun, ours))->secret, "sixteen bytes it is");
}

TEST(Rendezvous, LaunchersThatAgreeMayBeThereTogether) {
  const Environment both = with(torchrun, {{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "8"}});
  EXPECT_EQ(told(both), "rank 3 of 8, told by torchrun,slurm, local rank 1, rank 0 at n01:29501");
}

TEST(Rendezvous, RefusesLaunchersThatDisagreeUnlessOneIsNamed) {
  EXPECT_EQ(told(with(torchrun, slurm)),
            "rendezvous: RANK=3, WORLD_SIZE=8 (torchrun) and SLURM_PROCID=5, SLURM_NTASKS=16 (slurm) disagree; expected one launcher, or "
            "HOLDFAST_LAUNCHER to name the one to believe");
  EXPECT_EQ(told(with(variables, {{"RANK", "0"}, {"WORLD_SIZE", "2"}})),
            "rendezvous: HOLDFAST_RANK=1, HOLDFAST_WORLD_SIZE=2 (variables) and RANK=0, WORLD_SIZE=2 (torchrun) disagree; expected one "
            "launcher, or HOLDFAST_LAUNCHER to name the one to believe")
      << "our own variables do not win";
  EXPECT_EQ(told(with(with(torchrun, slurm), {{"HOLDFAST_LAUNCHER", "torchrun"}})), told(torchrun));
  EXPECT_EQ(told(with(with(torchrun, slurm), {{"HOLDFAST_LAUNCHER", "slurm"}})), told(slurm));
  EXPECT_EQ(told(with(torchrun, {{"HOLDFAST_LAUNCHER", "alone"}})), "rank 0 of 1, told by alone");
  EXPECT_EQ(told(with(torchrun, {{"HOLDFAST_LAUNCHER", "slurm"}})),
            "rendezvous: HOLDFAST_LAUNCHER=slurm without SLURM_PROCID and SLURM_NTASKS; expected both");
  EXPECT_EQ(told(with(torchrun, {{"HOLDFAST_LAUNCHER", "mpirun"}})),
            "rendezvous: HOLDFAST_LAUNCHER=\"mpirun\"; expected variables, torchrun, openmpi, slurm, pmi or alone");
}

TEST(Rendezvous, RefusesWhatIsHalfGiven) {
  EXPECT_EQ(told(without(torchrun, "WORLD_SIZE")), "rendezvous: RANK=3 without WORLD_SIZE (torchrun); expected both or none");
  EXPECT_EQ(told(without(torchrun, "RANK")), "rendezvous: WORLD_SIZE=8 without RANK (torchrun); expected both or none");
  EXPECT_EQ(told(without(slurm, "SLURM_NTASKS")), "rendezvous: SLURM_PROCID=5 without SLURM_NTASKS (slurm); expected both or none");
  EXPECT_EQ(told(without(torchrun, "MASTER_ADDR")),
            "rendezvous: no MASTER_ADDR beside RANK=3, WORLD_SIZE=8 (torchrun); expected it or HOLDFAST_MASTER_ADDR");
  EXPECT_EQ(told(without(torchrun, "MASTER_PORT")),
            "rendezvous: no MASTER_PORT beside RANK=3, WORLD_SIZE=8 (torchrun); expected it or HOLDFAST_PORT");
  EXPECT_EQ(told(without(variables, "HOLDFAST_MASTER_ADDR")),
            "rendezvous: no HOLDFAST_MASTER_ADDR beside HOLDFAST_RANK=1, HOLDFAST_WORLD_SIZE=2 (variables); expected it");
  EXPECT_EQ(told(without(variables, "HOLDFAST_PORT")),
            "rendezvous: no HOLDFAST_PORT beside HOLDFAST_RANK=1, HOLDFAST_WORLD_SIZE=2 (variables); expected it");
  EXPECT_EQ(
      told(without(slurm, "SLURM_STEP_NODELIST")),
      "rendezvous: no SLURM_STEP_NODELIST, SLURM_JOB_NODELIST or SLURM_NODELIST beside SLURM_PROCID=5, SLURM_NTASKS=16 (slurm); expected "
      "one or HOLDFAST_MASTER_ADDR");
  EXPECT_EQ(told(without(slurm, "SLURM_JOB_ID")),
            "rendezvous: no HOLDFAST_PORT beside SLURM_PROCID=5, SLURM_NTASKS=16 (slurm); expected it");
  EXPECT_EQ(told(with(openmpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}})),
            "rendezvous: OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4 (openmpi) with OMPI_COMM_WORLD_LOCAL_SIZE=2, so perhaps "
            "several hosts, and nothing tells that of rank 0; expected HOLDFAST_MASTER_ADDR");
}

TEST(Rendezvous, RefusesWhatIsNoNumberOfItsKind) {
  EXPECT_EQ(told(with(torchrun, {{"WORLD_SIZE", "eight"}})), "rendezvous: WORLD_SIZE=\"eight\"; expected a whole number of at least 1");
  EXPECT_EQ(told(with(torchrun, {{"WORLD_SIZE", "0"}})), "rendezvous: WORLD_SIZE=\"0\"; expected a whole number of at least 1");
  EXPECT_EQ(told(with(torchrun, {{"RANK", "8"}})), "rendezvous: RANK=\"8\"; expected a whole number from 0 to 7");
  EXPECT_EQ(told(with(torchrun, {{"RANK", "-1"}})), "rendezvous: RANK=\"-1\"; expected a whole number from 0 to 7");
  EXPECT_EQ(told(with(torchrun, {{"RANK", "3 "}})), "rendezvous: RANK=\"3 \"; expected a whole number from 0 to 7");
  EXPECT_EQ(told(with(torchrun, {{"LOCAL_RANK", "x"}})), "rendezvous: LOCAL_RANK=\"x\"; expected a whole number of at least 0");
  EXPECT_EQ(told(with(torchrun, {{"MASTER_PORT", "65535"}})), "rendezvous: MASTER_PORT=\"65535\"; expected a whole number from 1 to 65534");
  EXPECT_EQ(told(with(torchrun, {{"HOLDFAST_PORT", "0"}})), "rendezvous: HOLDFAST_PORT=\"0\"; expected a whole number from 1 to 65535");
  EXPECT_EQ(told(with(torchrun, {{"WORLD_SIZE", "99999999999"}})),
            "rendezvous: WORLD_SIZE=\"99999999999\"; expected a whole number of at least 1");
  EXPECT_EQ(told(with(torchrun, {{"HOLDFAST_JOB_SECRET", "short"}})), "rendezvous: HOLDFAST_JOB_SECRET has 5 bytes; expected at least 16");
}

TEST(NodeList, GivesTheFirstHost) {
  for (const auto& [list, first] : std::map<std::string, std::string>{{"n1", "n1"},
                                                                      {"n01,n02", "n01"},
                                                                      {"n[01-03,7]", "n01"},
                                                                      {"n[7,01-03],login", "n7"},
                                                                      {"login,n[1-2]", "login"},
                                                                      {"rack[2-3]-n[010-012].site", "rack2-n010.site"},
                                                                      {"[9]", "9"}}) {
    EXPECT_EQ(first_node(list).value(), first) << list;
  }
}

TEST(NodeList, RefusesWhatIsCutOrMangled) {
  for (const auto& [list, message] :
       std::map<std::string, std::string>{{"", "node list \"\": expected a host name at character 1"},
                                          {"n1,", "node list \"n1,\": expected a host name at character 4"},
                                          {"n[", "node list \"n[\": expected a number at character 3"},
                                          {"n[1", "node list \"n[1\": expected a comma or ] at character 4"},
                                          {"n[1-", "node list \"n[1-\": expected a number at character 5"},
                                          {"n[3-1]", "node list \"n[3-1]\": expected a number of at least 3 at character 5"},
                                          {"n1 n2", "node list \"n1 n2\": expected a comma or the end at character 3"},
                                          {"n[1-2]]", "node list \"n[1-2]]\": expected a comma or the end at character 7"},
                                          {"n1,m[x]", "node list \"n1,m[x]\": expected a number at character 6"}}) {
    const Result<std::string> first = first_node(list);
    ASSERT_FALSE(first) << list;
    EXPECT_EQ(first.error().message, message);
    EXPECT_EQ(to_string(first.error().code), "invalid_argument");
  }
  EXPECT_EQ(told(with(slurm, {{"SLURM_STEP_NODELIST", "n["}})),
            "rendezvous: SLURM_STEP_NODELIST: node list \"n[\": expected a number at character 3");
}

}  // namespace
}  // namespace holdfast::backend
