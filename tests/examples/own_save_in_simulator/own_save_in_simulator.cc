// A save routine of one's own under faults in the simulator: one naive, with a bug that tests on a healthy machine never show, and one careful.
//
//   own_save_in_simulator naive      finds the bug, tells how it happens and how to replay it
//   own_save_in_simulator careful    finds nothing
#include <holdfast/testing.h>

namespace {

using namespace holdfast;

/// Writes a temporary file and renames it, as so much code does. The naive one forgets that neither bytes nor names are durable until synced.
class OneFile : public sim::SaveRoutine {
 public:
  explicit OneFile(bool careful) : careful_(careful) {}
  std::string name() const override { return careful_ ? "careful" : "naive"; }

  Status save(const port::Env& env, Rank /*rank*/, Step /*step*/, ByteView state) const override {
    const port::Deadline deadline = env.clock.after(std::chrono::seconds(10));
    env.enter("write");
    const Status removed = env.storage.remove(temporary, deadline);  // of a save that crashed
    if (!removed && removed.error().code != ErrorCode::not_found) return removed;
    const port::FileId file = HOLDFAST_TRY(env.storage.create(temporary, deadline));
    const auto owner = std::make_shared<const Bytes>(to_bytes(state));
    const port::WritePiece piece{0, *owner, owner};
    Status written = env.storage.write_all(file, {&piece, 1}, deadline);
    if (written && careful_) written = env.storage.sync(file, deadline);
    const Status closed = env.storage.close(file);
    HOLDFAST_TRY(written);
    HOLDFAST_TRY(closed);
    env.enter("publish");
    HOLDFAST_TRY(env.storage.rename(temporary, final, deadline));
    return careful_ ? env.storage.sync_directory("", deadline) : Status();
  }

  Result<Bytes> load(const port::Env& env, Rank /*rank*/) const override {
    const port::Deadline deadline = env.clock.after(std::chrono::seconds(10));
    const port::FileId file = HOLDFAST_TRY(env.storage.open(final, deadline));
    const auto bytes = std::make_shared<Bytes>(HOLDFAST_TRY(env.storage.size(file, deadline)));
    const port::ReadPiece piece{0, *bytes, bytes};
    const Status read = env.storage.read_all(file, {&piece, 1}, deadline);
    HOLDFAST_TRY(env.storage.close(file));
    HOLDFAST_TRY(read);
    return *bytes;
  }

 private:
  static constexpr const char *temporary = "checkpoint.tmp", *final = "checkpoint";
  bool careful_;
};

}  // namespace

int main(int argc, char** argv) {
  return sim::campaign_main(argc, argv,
                            {sim::make_workload(std::make_shared<OneFile>(false)), sim::make_workload(std::make_shared<OneFile>(true))});
}
