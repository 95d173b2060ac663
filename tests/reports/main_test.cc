// The program as its users meet it: exit codes and the text of its errors.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "reports/json.h"
#include "tests/reports/samples.h"

namespace holdfast::reports {
namespace {

class ReportProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "holdfast-report-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    CampaignReport report;
    report.name = "campaign";
    write("none.json", to_json(report));
    report.acts.push_back({"act", ReportVerdict::good, "", {}, {}});
    write("good.json", to_json(report));
    report.failures.push_back({"safety", "S3", "message", "1", "replay", 2, 1, {}});
    write("bad.json", to_json(report));
    write("trace.json", to_json(samples::trace_of(3)));
    write("cut.json", "{\"format\":");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name, std::ios::binary) << text; }
  std::string read(const std::string& name) {
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// The exit code; standard output is in "out", standard error in "err".
  int run(const std::string& arguments) {
    const std::string command = "cd " + folder_.string() + " && " HOLDFAST_REPORT_PROGRAM " " + arguments + " >out 2>err";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::filesystem::path folder_;
};

TEST_F(ReportProgram, ExitsByTheVerdictOfACheckedReport) {
  EXPECT_EQ(run("check good.json"), 0);
  EXPECT_TRUE(read("out").starts_with("PASS campaign"));
  EXPECT_EQ(run("check bad.json"), 1);
  EXPECT_EQ(read("out"), "FAIL class=safety prop=S3 message | replay\n");
  EXPECT_EQ(run("check none.json"), 2);
  EXPECT_EQ(run("check good.json bad.json"), 1) << "parts of one campaign";
}

TEST_F(ReportProgram, WritesEveryKindOfReport) {
  EXPECT_EQ(run("html bad.json -o page.html"), 0);
  EXPECT_TRUE(read("page.html").starts_with("<!DOCTYPE html>"));
  EXPECT_EQ(run("markdown bad.json"), 0);
  EXPECT_TRUE(read("out").starts_with("## "));
  EXPECT_EQ(run("junit bad.json"), 0);
  EXPECT_TRUE(read("out").starts_with("<?xml"));
  EXPECT_EQ(run("merge good.json bad.json -o whole.json"), 0);
  EXPECT_EQ(run("check whole.json"), 1);
  EXPECT_EQ(run("space-time trace.json --lanes 2"), 0);
  EXPECT_TRUE(read("out").starts_with("<svg"));
  EXPECT_EQ(run("perfetto trace.json"), 0);
  EXPECT_NE(read("out").find("traceEvents"), std::string::npos);
}

TEST_F(ReportProgram, SaysWhatIsWrongWithItsInput) {
  EXPECT_EQ(run("html cut.json"), 1);
  EXPECT_EQ(read("err"), "holdfast-report: \"cut.json\": read holdfast.report: 10 bytes that are no JSON (corrupt)\n");
  EXPECT_EQ(run("html gone.json"), 2);
  EXPECT_EQ(read("err"), "holdfast-report: open \"gone.json\": No such file or directory (not_found)\n");
  EXPECT_EQ(run("html trace.json"), 2);
  EXPECT_NE(read("err").find("the format is \"holdfast.trace\", expected \"holdfast.report\""), std::string::npos);
  EXPECT_EQ(run("html good.json -o /nonexistent/page.html"), 2);
  EXPECT_EQ(run(""), 2);
  EXPECT_EQ(run("paint good.json"), 2);
  EXPECT_EQ(run("--help"), 0);
}

}  // namespace
}  // namespace holdfast::reports
