#include "tests/conformance/storage_cases.h"

#include <algorithm>

#include "tests/conformance/expect.h"

namespace holdfast::conformance {
namespace {

using port::Clock;
using port::DirectoryEntry;
using port::FileId;
using port::ReadPiece;
using port::Storage;
using port::WritePiece;

WritePiece piece(std::uint64_t offset, std::string_view text) {
  const SharedBytes bytes(to_bytes(as_bytes(text)));
  return {offset, bytes.view(), bytes.owner()};
}

Status write(Storage& storage, Clock& clock, FileId file, std::vector<WritePiece> pieces) {
  return storage.write_all(file, pieces, clock.after(long_time));
}

Result<Bytes> read(Storage& storage, Clock& clock, FileId file, std::uint64_t offset, std::size_t bytes) {
  const auto buffer = std::make_shared<Bytes>(bytes);
  const ReadPiece wanted{offset, *buffer, buffer};
  TRY(storage.read_all(file, {&wanted, 1}, clock.after(long_time)));
  return *buffer;
}

Status make_file(Storage& storage, Clock& clock, std::string_view path, std::string_view text) {
  const FileId file = TRY(storage.create(path, clock.after(long_time)));
  TRY(write(storage, clock, file, {piece(0, text)}));
  return storage.close(file);
}

/// Checks the whole content of a file.
Status expect_file(Storage& storage, Clock& clock, std::string_view path, std::string_view text,
                   std::source_location where = std::source_location::current()) {
  const FileId file = TRY(storage.open(path, clock.after(long_time)));
  const std::uint64_t size = TRY(storage.size(file, clock.after(long_time)));
  const Bytes bytes = TRY(read(storage, clock, file, 0, size));
  TRY(expect_bytes(bytes, text, where));
  return storage.close(file);
}

Result<std::vector<DirectoryEntry>> sorted_list(Storage& storage, Clock& clock, std::string_view path) {
  std::vector<DirectoryEntry> entries = TRY(storage.list(path, clock.after(long_time)));
  std::sort(entries.begin(), entries.end());
  return entries;
}

Status reads_what_was_written(Storage& storage, Clock& clock) {
  const FileId file = TRY(storage.create("a", clock.after(long_time)));
  TRY(expect(TRY(storage.size(file, clock.after(long_time))) == 0, "a new file to be empty"));
  TRY(write(storage, clock, file, {piece(0, "one"), piece(3, "two"), piece(1, "NE")}));
  TRY(expect_bytes(TRY(read(storage, clock, file, 0, 6)), "oNEtwo"));
  TRY(expect_bytes(TRY(read(storage, clock, file, 2, 3)), "Etw"));
  TRY(storage.sync(file, clock.after(long_time)));
  TRY(storage.close(file));
  return expect_file(storage, clock, "a", "oNEtwo");
}

Status fills_many_pieces(Storage& storage, Clock& clock) {
  TRY(make_file(storage, clock, "a", "abcdefgh"));
  const FileId file = TRY(storage.open("a", clock.after(long_time)));
  const auto buffer = std::make_shared<Bytes>(8);
  const ByteSpan all(*buffer);
  const std::vector<ReadPiece> pieces = {{6, all.subspan(0, 2), buffer}, {0, all.subspan(2, 3), buffer}, {3, all.subspan(5, 3), buffer}};
  TRY(storage.read_all(file, pieces, clock.after(long_time)));
  TRY(expect_bytes(*buffer, "ghabcdef"));
  return storage.close(file);
}

Status takes_empty_pieces(Storage& storage, Clock& clock) {
  const FileId file = TRY(storage.create("a", clock.after(long_time)));
  TRY(write(storage, clock, file, {}));
  TRY(write(storage, clock, file, {WritePiece{}, WritePiece{100, {}, nullptr}}));
  TRY(expect(TRY(storage.size(file, clock.after(long_time))) == 0, "empty pieces to write nothing"));
  const ReadPiece nothing;
  TRY(storage.read_all(file, {&nothing, 1}, clock.after(long_time)));
  return storage.close(file);
}

Status reading_past_the_end_is_corrupt(Storage& storage, Clock& clock) {
  TRY(make_file(storage, clock, "a", "abcd"));
  const FileId file = TRY(storage.open("a", clock.after(long_time)));
  TRY(expect_error(read(storage, clock, file, 0, 5), ErrorCode::corrupt));
  TRY(expect_error(read(storage, clock, file, 4, 1), ErrorCode::corrupt));
  TRY(expect_error(read(storage, clock, file, 4000, 1), ErrorCode::corrupt));
  TRY(expect_bytes(TRY(read(storage, clock, file, 0, 4)), "abcd"));
  return storage.close(file);
}

Status gaps_read_as_zeros(Storage& storage, Clock& clock) {
  if (!storage.caps().ranged_write) return {};
  const FileId file = TRY(storage.create("a", clock.after(long_time)));
  TRY(write(storage, clock, file, {piece(4, "x")}));
  TRY(expect_bytes(TRY(read(storage, clock, file, 0, 5)), std::string_view("\0\0\0\0x", 5)));
  return storage.close(file);
}

Status truncates_both_ways(Storage& storage, Clock& clock) {
  const FileId file = TRY(storage.create("a", clock.after(long_time)));
  TRY(write(storage, clock, file, {piece(0, "abcdef")}));
  TRY(storage.truncate(file, 2, clock.after(long_time)));
  TRY(expect(TRY(storage.size(file, clock.after(long_time))) == 2, "the size to be 2"));
  TRY(storage.truncate(file, 4, clock.after(long_time)));
  TRY(expect_bytes(TRY(read(storage, clock, file, 0, 4)), std::string_view("ab\0\0", 4)));
  return storage.close(file);
}

Status create_is_exclusive(Storage& storage, Clock& clock) {
  TRY(make_file(storage, clock, "a", "old"));
  TRY(expect_error(storage.create("a", clock.after(long_time)), ErrorCode::already_exists));
  TRY(storage.make_directory("d", clock.after(long_time)));
  TRY(expect_error(storage.create("d", clock.after(long_time)), ErrorCode::already_exists));
  return expect_file(storage, clock, "a", "old");
}

Status make_directory_is_exclusive(Storage& storage, Clock& clock) {
  TRY(storage.make_directory("d", clock.after(long_time)));
  TRY(expect_error(storage.make_directory("d", clock.after(long_time)), ErrorCode::already_exists));
  TRY(make_file(storage, clock, "f", ""));
  return expect_error(storage.make_directory("f", clock.after(long_time)), ErrorCode::already_exists);
}

Status names_what_is_missing(Storage& storage, Clock& clock) {
  const auto deadline = clock.after(long_time);
  TRY(expect_error(storage.open("a", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.create("d/a", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.make_directory("d/e", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.list("d", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.sync_directory("d", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.remove("a", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.remove_directory("d", deadline), ErrorCode::not_found));
  TRY(expect_error(storage.rename("a", "b", deadline), ErrorCode::not_found));
  if (storage.caps().link_if_absent) TRY(expect_error(storage.link_if_absent("a", "b", deadline), ErrorCode::not_found));
  return expect(TRY(sorted_list(storage, clock, "")).empty(), "failed calls to leave nothing behind");
}

Status rename_replaces(Storage& storage, Clock& clock) {
  TRY(storage.make_directory("d", clock.after(long_time)));
  TRY(make_file(storage, clock, "new", "new"));
  TRY(make_file(storage, clock, "d/name", "old"));
  TRY(storage.rename("new", "d/name", clock.after(long_time)));
  TRY(expect_file(storage, clock, "d/name", "new"));
  TRY(expect_error(storage.open("new", clock.after(long_time)), ErrorCode::not_found));
  TRY(storage.sync_directory("d", clock.after(long_time)));
  return storage.sync_directory("", clock.after(long_time));
}

Status a_file_stays_open_over_a_rename(Storage& storage, Clock& clock) {
  const FileId file = TRY(storage.create("a", clock.after(long_time)));
  TRY(storage.rename("a", "b", clock.after(long_time)));
  TRY(write(storage, clock, file, {piece(0, "late")}));
  TRY(storage.close(file));
  return expect_file(storage, clock, "b", "late");
}

Status link_never_replaces(Storage& storage, Clock& clock) {
  if (!storage.caps().link_if_absent) return {};
  TRY(make_file(storage, clock, "first", "first"));
  TRY(make_file(storage, clock, "second", "second"));
  TRY(storage.link_if_absent("first", "name", clock.after(long_time)));
  TRY(expect_error(storage.link_if_absent("second", "name", clock.after(long_time)), ErrorCode::already_exists));
  TRY(expect_file(storage, clock, "name", "first"));
  TRY(storage.remove("first", clock.after(long_time)));
  return expect_file(storage, clock, "name", "first");
}

Status removes_files_and_empty_directories(Storage& storage, Clock& clock) {
  TRY(storage.make_directory("d", clock.after(long_time)));
  TRY(make_file(storage, clock, "d/a", "x"));
  TRY(expect(!storage.remove_directory("d", clock.after(long_time)), "a full directory to stay"));
  TRY(expect(!storage.remove("d", clock.after(long_time)), "remove to refuse a directory"));
  TRY(expect(!storage.remove_directory("d/a", clock.after(long_time)), "remove_directory to refuse a file"));
  TRY(expect_file(storage, clock, "d/a", "x"));
  TRY(storage.remove("d/a", clock.after(long_time)));
  TRY(expect_error(storage.remove("d/a", clock.after(long_time)), ErrorCode::not_found));
  TRY(storage.remove_directory("d", clock.after(long_time)));
  return expect(TRY(sorted_list(storage, clock, "")).empty(), "nothing to be left");
}

Status lists_exactly_what_is_there(Storage& storage, Clock& clock) {
  TRY(storage.make_directory("d", clock.after(long_time)));
  TRY(storage.make_directory("d/e", clock.after(long_time)));
  std::vector<DirectoryEntry> expected = {{"e", true}};
  for (int i = 0; i < 150; ++i) {
    expected.push_back({fmt::format("file-{}", i), false});
    TRY(make_file(storage, clock, "d/" + expected.back().name, ""));
  }
  std::sort(expected.begin(), expected.end());
  TRY(expect(TRY(sorted_list(storage, clock, "d")) == expected, "\"d\" to list its 151 entries"));
  TRY(expect(TRY(sorted_list(storage, clock, "")) == std::vector<DirectoryEntry>{{"d", true}}, "the root to list \"d\" only"));
  return expect(TRY(sorted_list(storage, clock, "d/e")).empty(), "\"d/e\" to be empty");
}

Status handles_of_one_file_are_independent(Storage& storage, Clock& clock) {
  const FileId writer = TRY(storage.create("a", clock.after(long_time)));
  const FileId reader = TRY(storage.open("a", clock.after(long_time)));
  const FileId other = TRY(storage.open("a", clock.after(long_time)));
  TRY(expect(writer != reader && reader != other && writer != other, "handles of their own"));
  TRY(write(storage, clock, writer, {piece(0, "shared")}));
  TRY(storage.close(other));
  TRY(expect_bytes(TRY(read(storage, clock, reader, 0, 6)), "shared"));
  TRY(storage.close(writer));
  TRY(expect_bytes(TRY(read(storage, clock, reader, 2, 4)), "ared"));
  return storage.close(reader);
}

Status gives_back_the_owners_of_its_buffers(Storage& storage, Clock& clock) {
  const auto buffer = std::make_shared<Bytes>(to_bytes(as_bytes("owned")));
  const FileId file = TRY(storage.create("a", clock.after(long_time)));
  {
    const std::vector<WritePiece> written = {{0, *buffer, buffer}};
    TRY(storage.write_all(file, written, clock.after(long_time)));
    const std::vector<ReadPiece> wanted = {{0, *buffer, buffer}};
    TRY(storage.read_all(file, wanted, clock.after(long_time)));
  }
  TRY(expect(buffer.use_count() == 1, "no owner to be kept after the calls returned"));
  return storage.close(file);
}

constexpr StorageCase cases[] = {
    {"ReadsWhatWasWritten", reads_what_was_written},
    {"FillsManyPieces", fills_many_pieces},
    {"TakesEmptyPieces", takes_empty_pieces},
    {"ReadingPastTheEndIsCorrupt", reading_past_the_end_is_corrupt},
    {"GapsReadAsZeros", gaps_read_as_zeros},
    {"TruncatesBothWays", truncates_both_ways},
    {"CreateIsExclusive", create_is_exclusive},
    {"MakeDirectoryIsExclusive", make_directory_is_exclusive},
    {"NamesWhatIsMissing", names_what_is_missing},
    {"RenameReplaces", rename_replaces},
    {"AFileStaysOpenOverARename", a_file_stays_open_over_a_rename},
    {"LinkNeverReplaces", link_never_replaces},
    {"RemovesFilesAndEmptyDirectories", removes_files_and_empty_directories},
    {"ListsExactlyWhatIsThere", lists_exactly_what_is_there},
    {"HandlesOfOneFileAreIndependent", handles_of_one_file_are_independent},
    {"GivesBackTheOwnersOfItsBuffers", gives_back_the_owners_of_its_buffers},
};

}  // namespace

std::span<const StorageCase> storage_cases() { return cases; }

}  // namespace holdfast::conformance
