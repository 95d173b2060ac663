// What a campaign tells its readers: plain values, filled in by whoever ran it, drawn by html.h, markdown.h and junit.h, kept by json.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::reports {

enum class ReportVerdict : std::uint8_t {
  none = 0,  ///< nothing was checked, or no answer was reached
  good = 1,
  bad = 2,
};

struct ReportPicture {
  std::string title;
  std::string caption;
  std::string svg;  ///< a whole document, of render_svg(), space_time_svg() or tensor_overlay_svg()
};

struct ReportTable {
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

/// A chapter: "Exhaust: every single fault at every site, 3 ranks".
struct ReportAct {
  std::string title;
  ReportVerdict verdict = ReportVerdict::none;
  std::string text;  ///< paragraphs, parted by empty lines
  std::vector<ReportPicture> pictures;
  std::vector<ReportTable> tables;
};

struct ReportCounts {
  std::uint64_t runs = 0;
  std::uint64_t events = 0;
  std::uint64_t door_calls = 0;
  std::uint64_t faults_enumerated = 0;     ///< fault and site pairs that could be
  std::uint64_t faults_fired = 0;          ///< injected in some run
  std::uint64_t faults_consequential = 0;  ///< that changed the run
  std::uint64_t faults_detected = 0;       ///< that some rank reported or survived knowingly
};

struct CoverageCell {
  std::uint64_t fired = 0;       ///< runs in which the fault struck in this step; 0 is grey: not reached
  std::uint64_t violations = 0;  ///< of these, runs that a judge condemned; more than 0 is red
  bool possible = true;          ///< false: the fault cannot strike here, blank
};

struct ReportCoverage {
  std::vector<std::string> fault_kinds;          ///< rows
  std::vector<std::string> steps;                ///< columns: the protocol's numbered steps
  std::vector<std::vector<CoverageCell>> cells;  ///< [fault kind][step]
};

struct ReportFailure {
  std::string verdict_class;  ///< "safety", "liveness", ... (to_string of VerdictClass)
  std::string property;
  std::string message;  ///< the first line alone says what is wrong; more lines may tell how it came
  std::string seed;
  std::string replay_command;
  std::uint64_t decisions_before = 0;  ///< in the run that failed first
  std::uint64_t decisions_after = 0;   ///< in the smallest run found that fails alike
  std::vector<ReportPicture> pictures;
};

struct ReportMark {
  std::string name;
  std::uint64_t hits = 0;  ///< 0 reads NOT EXERCISED
};

struct CampaignReport {
  std::string name;
  std::string seed;
  std::string command;  ///< that reproduces it
  std::string started;  ///< UTC, as text
  double duration_s = 0;
  std::string machine;
  ReportCounts counts;
  std::vector<ReportAct> acts;
  ReportCoverage coverage;
  std::vector<ReportFailure> failures;
  std::vector<ReportMark> marks;
};

/// Bad when there is a failure or a bad act; none when nothing was good; else good.
ReportVerdict verdict_of(const CampaignReport& report);
/// The report's last line, at most 200 code points: "FAIL class=safety prop=S3 ... | holdfast sim replay ..." or "PASS ...".
std::string last_line(const CampaignReport& report);
/// One report of the parts of a campaign that was split over machines: numbers are added, lists are joined, equal marks and cells merged.
CampaignReport merged(const std::vector<CampaignReport>& parts);

}  // namespace holdfast::reports
