#include <algorithm>

#include "impl/cli/folder.h"
#include "impl/cli/source_file.h"
#include "impl/cli/verbs.h"
#include "impl/format/segment.h"
#include "impl/plan/summary.h"

namespace holdfast::cli {
namespace {

/// What was looked at, in words, beside what was found.
struct Verified {
  VerifyReport report;
  std::string what;
};

Report report_of(const std::string& path, const Verified& verified) {
  const VerifyReport& found = verified.report;
  Report report;
  Json findings = Json::array();
  for (const protocol::Finding& finding : found.findings) {
    report.text += one_line(fmt::format("{}: {}", finding.file, finding.message), std::string::npos) + "\n";
    findings.push_back({{"file", finding.file}, {"message", finding.message}});
  }
  if (found.findings.empty()) {
    report.text = fmt::format("{}: {}; {}, {}, {}\n", path, verified.what, count_text(found.files, "file"),
                              count_text(found.tensors, "tensor"), plan::bytes_text(found.bytes));
  } else {
    const std::string first = fmt::format("{}: {}", found.findings[0].file, found.findings[0].message);
    report.cause = found.findings.size() == 1 ? first : fmt::format("{} findings; the first: {}", found.findings.size(), first);
  }
  report.json = {{"path", path},         {"what", verified.what},    {"findings", findings},
                 {"files", found.files}, {"tensors", found.tensors}, {"bytes", found.bytes}};
  return report;
}

/// A segment carries the digests of its blocks; a file of anybody else's has only a structure to check.
Status verify_segment(const SafetensorsFile& file, Verified& verified) {
  const std::string& path = file.file.path();
  const format::SegmentHeader header = TRY(format::decode_segment_header(file.file.bytes().first(file.header.header_bytes), path));
  for (std::size_t number = 0; number < header.blocks.size(); ++number) {
    const format::SegmentBlock block = header.layout.block(number);
    const BlockDigest found = block_digest(file.data().subspan(block.offset, block.bytes));
    if (found == header.blocks[number]) continue;
    verified.report.findings.push_back(
        {path, fmt::format("block {} (@ {}+{}): digest {}, the segment says {}", number, header.layout.header_bytes + block.offset,
                           block.bytes, to_string(found), to_string(header.blocks[number]))});
  }
  verified.what = fmt::format("a segment of \"{}\", every block matches its digest", header.generation);
  return {};
}

Result<Report> verify_file(const std::string& path) {
  Verified verified;
  verified.what = "the structure is sound; the file holds no digests of its data";
  ++verified.report.files;
  const Result<SafetensorsFile> file = open_safetensors(path);
  Status status;
  if (!file) {
    status = fail(file.error());
  } else {
    verified.report.tensors = file->header.tensors.size();
    verified.report.bytes = file->header.file_bytes();
    if (file->header.metadata.contains("holdfast")) status = verify_segment(*file, verified);
  }
  if (!status && status.error().code != ErrorCode::corrupt) return fail(status.error());
  if (!status) verified.report.findings.push_back({path, status.error().message});
  return report_of(path, verified);
}

/// Bytes that will be read, as far as the manifests can be.
Result<std::uint64_t> bytes_ahead(Checkpoints& checkpoints, const Location& location) {
  std::vector<std::string> directories{location.directory};
  if (location.kind == PathKind::folder) {
    directories.clear();
    for (const protocol::CommittedAttempt& attempt : TRY(checkpoints.list()).committed) directories.push_back(attempt.directory);
  }
  std::uint64_t bytes = 0;
  for (const std::string& directory : directories) {
    if (const auto manifest = checkpoints.manifest(directory)) bytes += stored(*manifest).bytes;
  }
  return bytes;
}

Result<Report> verify(const std::string& path, const Console& console) {
  const Location location = TRY(locate(path));
  if (location.kind == PathKind::file) return verify_file(path);
  Progress survey_progress(console, 0);
  OpenFolder survey_folder = TRY(OpenFolder::open(location, survey_progress));
  Progress progress(console, TRY(bytes_ahead(survey_folder.checkpoints(), location)));
  OpenFolder folder = TRY(OpenFolder::open(location, progress));
  const bool one = location.kind == PathKind::attempt;
  Result<VerifyReport> report = one ? folder.checkpoints().verify(location.directory) : folder.checkpoints().verify_all();
  if (!report) return fail(within(report.error(), "\"{}\"", path));
  return report_of(path, {*std::move(report), "every bit is as it was saved"});
}

}  // namespace

void add_verify(CLI::App& app, Command& command) {
  const auto path = std::make_shared<std::string>();
  CLI::App* verb =
      add_verb(app, command, "verify", "Read every byte of checkpoints and compare it with what was saved.",
               "Example: holdfast verify checkpoints\n\n"
               "Exit 0: every bit is as it was saved. Exit 1: damage; each finding is a line with file, tensor, block and offset.\n"
               "Exit 2: there was nothing to verify.",
               [path](const Console& console) { return verify(*path, console); });
  verb->add_option("PATH", *path, "One checkpoint, a folder of them, or any safetensors file (its structure)")->required();
}

}  // namespace holdfast::cli
