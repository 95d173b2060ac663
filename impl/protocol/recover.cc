#include "impl/protocol/recover.h"

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/format/hint.h"
#include "impl/protocol/files.h"
#include "impl/protocol/give_up.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/round.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

Status make_hint_true(port::Storage& storage, const std::string& newest, port::Deadline deadline) {
  const Bytes wanted = format::encode_hint(newest);
  const Result<SharedBytes> hint = read_file(storage, hint_name, wanted.size() + 4096, deadline);
  if (hint && to_bytes(hint->view()) == wanted) return {};
  if (!hint && hint.error().code != ErrorCode::not_found && hint.error().code != ErrorCode::corrupt) return fail(hint.error());
  MARK("recover.hint_corrected");
  return replace_file(storage, "", hint_name, wanted, deadline);
}

/// False: it was committed meanwhile.
Result<bool> sweep_attempt(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  // Not even to make room for its record may its files go first: whoever wakes up in between would commit it without them.
  if (MUTATE("recover.makes_room_first", false, true)) TRY(remove_all_but(storage, directory, manifest_name, deadline));
  if (!TRY(give_up(storage, directory, deadline))) return false;
  MARK("recover.swept");
  TRY(remove_all_but(storage, directory, manifest_name, deadline));
  return true;
}

/// Empties every attempt without a commit record. Its directory stays until the next commit retires it: its name keeps its number from being given out
/// again, and its MANIFEST keeps it from being committed.
Result<std::vector<std::string>> sweep_attempts(port::Storage& storage, port::Deadline deadline) {
  std::vector<std::string> swept;
  for (const plan::AttemptId id : TRY(survey(storage, deadline)).uncommitted) {
    const std::string directory = plan::directory_name(id);
    const Result<bool> gone = sweep_attempt(storage, directory, deadline);
    if (!gone && gone.error().code == ErrorCode::not_found) continue;  // somebody else has removed it
    if (TRY(gone)) swept.push_back(directory);
  }
  return swept;
}

Result<comm::Answer> sweep(port::Storage& storage, port::Deadline deadline) {
  const std::vector<std::string> swept = TRY(sweep_attempts(storage, deadline));
  const Survey found = TRY(survey(storage, deadline));
  const std::string newest = found.committed.empty() ? "" : found.committed.front().directory;
  // A commit record that became visible but whose name was not yet durable when the writer died is made durable before anybody relies on it.
  if (!newest.empty()) TRY(storage.sync_directory(newest, deadline));
  if (!newest.empty()) TRY(make_hint_true(storage, newest, deadline));
  Encoder out;
  out.text(newest);
  out.varint(swept.size());
  for (const std::string& directory : swept) out.text(directory);
  comm::Answer answer;
  answer.common = out.take();
  return answer;
}

Result<Recovered> decode(ByteView bytes) {
  Decoder in(bytes, "recover answer");
  Recovered recovered;
  recovered.newest = TRY(in.text());
  recovered.swept.resize(TRY(in.count(1)));
  for (std::string& directory : recovered.swept) directory = TRY(in.text());
  TRY(in.finish());
  return recovered;
}

}  // namespace

Checkpointed<Recovered> recover(Session& session, const RecoverOptions& options) {
  comm::Comm& comm = session.comm();
  const port::Deadline end = session.env().clock.after(options.deadline);
  const Checkpointed<Status> before = settle(session, end);
  if (!before) return tl::unexpected(before.error());
  session.env().enter("recover");
  comm.begin("recover");
  const comm::Timetable times = comm.schedule(end);
  Result<SharedBytes> ready = SharedBytes();
  if (!*before) ready = fail(before->error());
  auto swept = comm.agree(ready, [&](std::vector<SharedBytes>) { return sweep(session.env().storage, times.reduce()); }, times);
  if (!swept) return tl::unexpected(to_error("recover", std::move(swept).error(), Outcome::unknown));
  Result<Recovered> recovered = decode(swept->common.view());
  if (recovered) return *std::move(recovered);
  FailureMap failures;
  failures.add(comm.rank(), std::move(recovered).error());
  return tl::unexpected(CheckpointError{"recover", Outcome::unknown, std::move(failures), {}});
}

}  // namespace holdfast::protocol
