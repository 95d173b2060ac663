// Saves and loads under other names, of some keys, of values of single ranks, without a template; replicas compared. The exact words.
#include <gtest/gtest.h>

#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/save.h"
#include "impl/protocol/save_notes.h"
#include "impl/protocol/state_view.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

Bytes bytes_of(std::string_view text) { return to_bytes(as_bytes(text)); }

/// A state dict of bytes and of U8 tensors that every rank holds whole.
struct Small {
  StateDict state;
  std::map<std::string, Bytes> memory;

  Small& value(const std::string& key, std::string_view text) {
    EXPECT_TRUE(state.add_bytes(key, bytes_of(text)));
    return *this;
  }
  Small& of_rank(const std::string& key, std::string_view text, RankPolicy policy) {
    EXPECT_TRUE(state.add_rank_bytes(key, bytes_of(text), policy));
    return *this;
  }
  Small& tensor(const std::string& key, std::string_view elements, DType dtype = DType::u8) {
    Bytes& of = memory[key] = bytes_of(elements);
    const Dims shape{static_cast<std::int64_t>(of.size() / size_bytes(dtype))};
    EXPECT_TRUE(state.add(key, of.data(), dtype, shape, ReplicatedLayout{}, Rank{0}));
    return *this;
  }
  std::string_view text(const std::string& key) const {
    const auto* value = std::get_if<BytesEntry>(state.find(key));
    return as_text(value ? value->value : memory.at(key));
  }
};

struct Folder {
  std::unique_ptr<properties::World> world = *properties::ThreadsWorld::make();

  /// What `body` gives on each rank; the world must not complain.
  template <typename Body>
  std::vector<std::string> run(int ranks, Body body) {
    const properties::WorldRun run = world->run(ranks, 0, [&](const port::Env& env, Rank rank) {
      Session session(env);
      return to_bytes(as_bytes(body(session, rank)));
    });
    EXPECT_EQ(run.problems, std::vector<std::string>());
    std::vector<std::string> told;
    for (const Bytes& result : run.results) told.emplace_back(as_text(result));
    return told;
  }
  /// The same on all of them.
  template <typename Body>
  std::string agreed(int ranks, Body body) {
    const std::vector<std::string> told = run(ranks, body);
    for (const std::string& of : told) EXPECT_EQ(of, told.front());
    return told.front();
  }
};

std::string told(const Checkpointed<Saved>& saved) {
  return saved ? fmt::format("{}", fmt::join(saved->warnings, "; ")) : to_string(saved.error());
}

std::string told(const Checkpointed<Loaded>& loaded) {
  if (!loaded) return to_string(loaded.error());
  return fmt::format("missing {}; unexpected {}; unmatched {}", fmt::join(loaded->keys.missing, ","),
                     fmt::join(loaded->keys.unexpected, ","), fmt::join(loaded->keys.unmatched, ","));
}

std::string save_small(Folder& folder, const Small& small, int ranks = 1) {
  return folder.agreed(ranks, [&](Session& session, Rank) { return told(save(session, small.state, {.step = Step{1}})); });
}

std::string load_small(Folder& folder, Small& small, const LoadOptions& options = {}) {
  return folder.agreed(1, [&](Session& session, Rank) { return told(load(session, small.state, options)); });
}

TEST(State, IsNeverCastOrTakenForAnotherKind) {
  Folder folder;
  ASSERT_EQ(save_small(folder, Small().tensor("loss", "1234").value("epoch", "5")), "");
  Small bytes;
  bytes.tensor("loss", "abcdefgh", DType::u16);
  EXPECT_EQ(
      load_small(folder, bytes),
      R"(plan failed: rank 0: plan load: "loss": dtype U8 in the checkpoint, U16 in the destination; nothing is cast (invalid_argument))");
  Small shape;
  shape.tensor("loss", "abcde");
  EXPECT_EQ(load_small(folder, shape),
            R"(plan failed: rank 0: plan load: "loss": shape [4] in the checkpoint, [5] in the destination (invalid_argument))");
  Small kind;
  kind.tensor("epoch", "abc").value("loss", "kept");
  EXPECT_EQ(
      load_small(folder, kind),
      R"(plan failed: rank 0: plan load: 2 problems: "epoch": a byte value in the checkpoint, a tensor of shape [3] in the destination; )"
      R"("loss": a tensor of shape [4] in the checkpoint, a byte value in the destination (invalid_argument))");
  EXPECT_EQ(bytes.text("loss"), "abcdefgh");
  EXPECT_EQ(kind.text("epoch"), "abc");
  EXPECT_EQ(kind.text("loss"), "kept");
}

TEST(State, TellsEveryMissingKeyAndNotTheFirst) {
  Folder folder;
  ASSERT_EQ(save_small(folder, Small().value("a", "1").value("z", "2")), "");
  Small destination;
  destination.value("a", "").value("b", "kept").tensor("c", "kept").value("d", "kept");
  EXPECT_EQ(load_small(folder, destination),
            R"(plan failed: rank 0: plan load: missing in the checkpoint: "b", "c", "d" (invalid_argument))");
  EXPECT_EQ(load_small(folder, destination, {.plan = {.strict = false}}), "missing b,c,d; unexpected z; unmatched ");
  EXPECT_EQ(destination.text("a"), "1");
  EXPECT_EQ(destination.text("c"), "kept");
  EXPECT_EQ(load_small(folder, destination, {.plan = {.strict = false}, .all_of_checkpoint = true}),
            R"(plan failed: rank 0: plan load: no rank has a place for "z", which the checkpoint holds (invalid_argument))");
}

TEST(State, LoadsWhatIsSelected) {
  Folder folder;
  ASSERT_EQ(save_small(folder, Small().value("model.a", "1").value("model.b", "2").value("step", "3")), "");
  Small destination;
  destination.value("model.a", "").value("step", "kept").value("other", "kept");
  EXPECT_EQ(load_small(folder, destination, {.only = {.prefixes = {"model."}}}), "missing ; unexpected model.b; unmatched ");
  EXPECT_EQ(destination.text("model.a"), "1");
  EXPECT_EQ(destination.text("step"), "kept");
  EXPECT_EQ(load_small(folder, destination, {.only = {.keys = {"model.b", "stop", "step"}}}),
            R"(plan failed: rank 0: plan load: no rank has a place for "model.b", "stop", which are asked for by name (invalid_argument))");
  EXPECT_EQ(load_small(folder, destination, {.plan = {.strict = false}, .only = {.keys = {"stop", "step"}, .prefixes = {"x"}}}),
            R"(missing ; unexpected ; unmatched select key "stop",select prefix "x")");
  EXPECT_EQ(destination.text("step"), "3");
}

TEST(State, TellsRulesThatRenamedNothingOnAnyRank) {
  Folder folder;
  const KeyMap names = KeyMap().prefix("stage0.", "s.").prefix("stage1.", "t.").key("lost", "found");
  const std::string saved = folder.agreed(2, [&](Session& session, Rank rank) {
    Small small;
    small.value(fmt::format("stage{}.w", rank), "1");
    return told(save(session, small.state, {.step = Step{1}, .keys = names}));
  });
  EXPECT_EQ(saved, R"(rename key "lost" to "found": no key of any rank)");
  Small destination;
  destination.value("s.w", "").value("stage1.w", "");
  EXPECT_EQ(load_small(folder, destination, {.keys = names}),
            R"(missing ; unexpected ; unmatched rename key "lost" to "found",rename prefix "stage0." to "s.")");
  EXPECT_EQ(destination.text("stage1.w"), "1");
}

TEST(State, RefusesNamesThatClash) {
  Folder folder;
  EXPECT_EQ(folder.agreed(1,
                          [&](Session& session, Rank) {
                            Small small;
                            small.value("a", "1").value("b", "1");
                            return told(save(session, small.state, {.step = Step{1}, .keys = KeyMap().key("a", "b")}));
                          }),
            R"(plan failed: rank 0: rename keys: "b" would be the name of "a" and "b" (invalid_argument))");
  EXPECT_EQ(
      save_small(folder, Small().value("@rank/mine", "1").value("a", "2")),
      R"(plan failed: rank 0: plan save: "@rank/mine": keys that begin with @rank/ are kept for values of single ranks (invalid_argument))");
  const std::string across = folder.agreed(2, [&](Session& session, Rank rank) {
    Small small;
    small.value(rank == Rank{0} ? "a" : "b", "1");
    return told(save(session, small.state, {.step = Step{1}, .keys = KeyMap().key("a", "b")}));
  });
  EXPECT_EQ(across, R"(plan failed: rank 0: plan save: rename keys: "b" would be "a" of rank 0 and "b" of rank 1 (invalid_argument))");
}

TEST(RankValues, GoToTheRanksOfThePolicy) {
  Folder folder;
  ASSERT_EQ(folder.agreed(3,
                          [&](Session& session, Rank rank) {
                            Small small;
                            small.of_rank("rng", fmt::format("of {}", rank), RankPolicy::modulo).value("step", "1");
                            return told(save(session, small.state, {.step = Step{1}}));
                          }),
            "");
  const auto load_by = [&](int ranks, RankPolicy policy) {
    return folder.run(ranks, [&](Session& session, Rank) {
      Small small;
      small.of_rank("rng", "kept", policy).value("step", "");
      const auto loaded = load(session, small.state, {});
      return loaded ? std::string(small.text("rng")) : to_string(loaded.error());
    });
  };
  EXPECT_EQ(load_by(4, RankPolicy::modulo), (std::vector<std::string>{"of 0", "of 1", "of 2", "of 0"}));
  EXPECT_EQ(load_by(2, RankPolicy::first), (std::vector<std::string>{"of 0", "of 0"}));
  EXPECT_EQ(load_by(2, RankPolicy::drop), (std::vector<std::string>{"kept", "kept"}));
  EXPECT_EQ(load_by(3, RankPolicy::drop), (std::vector<std::string>{"of 0", "of 1", "of 2"}));
  EXPECT_EQ(
      load_by(2, RankPolicy::same_rank).front(),
      R"(plan failed: ranks 0-1: plan load: "rng": 3 ranks saved a value each, 2 ranks load, and the policy same_rank asks for as many )"
      "(invalid_argument)");
  Small plain;
  plain.value("rng", "kept");
  EXPECT_EQ(load_small(folder, plain),
            R"(plan failed: rank 0: plan load: "rng": a value for each of 3 ranks in the checkpoint, one for all ranks in the destination )"
            "(invalid_argument)");
  Small other;
  other.of_rank("step", "kept", RankPolicy::first);
  EXPECT_EQ(load_small(folder, other),
            R"(plan failed: rank 0: plan load: "step": one for all ranks in the checkpoint, a value for each rank in the destination )"
            "(invalid_argument)");
}

TEST(RankValues, OfRanksThatHaveNone) {
  Folder folder;
  ASSERT_EQ(folder.agreed(2,
                          [&](Session& session, Rank rank) {
                            Small small;
                            if (rank == Rank{0}) small.of_rank("loader", "0", RankPolicy::same_rank);
                            return told(save(session, small.state, {.step = Step{1}}));
                          }),
            "");
  const auto strictly = [&](bool strict) {
    return folder.agreed(2, [&](Session& session, Rank) {
      Small small;
      small.of_rank("loader", "kept", RankPolicy::same_rank);
      return told(load(session, small.state, {.plan = {.strict = strict}}));
    });
  };
  EXPECT_EQ(strictly(true), R"(plan failed: rank 1: plan load: missing in the checkpoint: "loader" (invalid_argument))");
  EXPECT_EQ(strictly(false), "missing loader; unexpected ; unmatched ");
}

TEST(RankValues, MustHaveOnePolicy) {
  Folder folder;
  EXPECT_EQ(folder.agreed(2,
                          [&](Session& session, Rank rank) {
                            Small small;
                            small.of_rank("rng", "1", rank == Rank{0} ? RankPolicy::drop : RankPolicy::first);
                            return told(save(session, small.state, {.step = Step{1}}));
                          }),
            R"(plan failed: rank 0: plan save: "rng": values of ranks of 2 with the policy drop, and of 2 with first (invalid_argument))");
  EXPECT_EQ(folder.agreed(2,
                          [&](Session& session, Rank rank) {
                            Small small;
                            rank == Rank{0} ? small.of_rank("rng", "1", RankPolicy::drop) : small.value("rng", "1");
                            return told(save(session, small.state, {.step = Step{1}}));
                          }),
            R"(plan failed: rank 0: plan save: "rng": a value for each rank, and one for all of them (invalid_argument))");
}

TEST(LoadNew, GivesTheTreeOfAllRanksBack) {
  Folder folder;
  const KeyMap names = KeyMap().prefix("layers.", "blocks.");
  std::vector<Bytes> memory(2, bytes_of("1234"));
  ASSERT_EQ(folder.agreed(
                2,
                [&](Session& session, Rank rank) -> std::string {
                  std::byte* data = memory[static_cast<std::size_t>(rank.value)].data();
                  TensorEntry tensor{DType::u8, {4}, false, {{whole({4}), packed_block(data, {4}, 1)}}};
                  Nested layer{StateDict::Entry(std::move(tensor))};
                  Nested layers{Nested::Map{{{static_cast<std::int64_t>(rank.value), std::move(layer)}}}};
                  Nested step{StateDict::Entry(BytesEntry{bytes_of("7")})};
                  Flat flat =
                      flatten({Nested::Map{{{"layers", std::move(layers)}, {"step", std::move(step)}, {"none", Nested{Nested::List{}}}}}})
                          .value();
                  return told(save(session, flat.state, {.step = Step{1}, .keys = names, .structure = flat.structure}));
                }),
            "");
  folder.run(1, [&](Session& session, Rank) -> std::string {
    auto loaded = load_new(session, {}, {});
    EXPECT_TRUE(loaded) << to_string(loaded.error());
    const TensorEntry& tensor = std::get<TensorEntry>(*loaded->made.state.find("blocks.1"));
    EXPECT_EQ(as_text({tensor.shards.at(0).memory.data, 4}), "1234");
    const Nested tree = unflatten(loaded->made.state, loaded->made.structure.value()).value();
    const auto& root = std::get<Nested::Map>(tree.value).items;
    EXPECT_EQ(root.at(0).key, MapKey("layers"));
    const auto& layers = std::get<Nested::Map>(root[0].value.value).items;
    EXPECT_EQ(layers.at(0).key, MapKey(std::int64_t{0}));
    EXPECT_EQ(layers.at(1).key, MapKey(std::int64_t{1}));
    EXPECT_TRUE(std::get<Nested::List>(root.at(2).value.value).items.empty());
    const auto part = load_new(session, {}, {.only = {.keys = {"step"}}});
    EXPECT_EQ(part->made.state.entries().size(), 1u);
    EXPECT_EQ(told(load_new(session, {}, {.only = {.keys = {"stop"}}}).map([](const NewlyLoaded& of) { return of.loaded; })),
              R"(plan failed: rank 0: plan load: no rank has a place for "stop", which are asked for by name (invalid_argument))");
    EXPECT_EQ(
        told(load_new(session, {}, {.keys = names}).map([](const NewlyLoaded& of) { return of.loaded; })),
        "plan failed: rank 0: plan load: LoadOptions::keys renames the keys of a destination; load_new() has none yet (invalid_argument)");
    return "";
  });
}

TEST(Structure, OfRanksThatContradictEachOtherIsRefused) {
  Folder folder;
  const std::string refused = folder.agreed(2, [&](Session& session, Rank rank) -> std::string {
    const MapKey key = rank == Rank{0} ? MapKey(std::int64_t{0}) : MapKey("0");
    Flat flat = flatten({Nested::Map{{{key, Nested{StateDict::Entry(BytesEntry{bytes_of("7")})}}}}}).value();
    return told(save(session, flat.state, {.step = Step{1}, .structure = flat.structure}));
  });
  EXPECT_EQ(refused,
            "plan failed: rank 0: plan save: the state of rank 1 beside those of the ranks before it: merge nested states: \"0\" is the "
            "name of [0] "
            "and of [\"0\"] (invalid_argument)");
}

TEST(Replicas, ThatDifferFailTheSaveOrWarn) {
  Folder folder;
  const auto save_by = [&](Replicas replicas, bool async) {
    return folder.agreed(3, [&](Session& session, Rank rank) {
      Small small;
      small.tensor("w", rank == Rank{1} ? "12x4" : "1234");
      const SaveOptions options{.step = Step{1}, .replicas = replicas};
      if (!async) return told(save(session, small.state, options));
      auto pending = async_save(session, small.state, options);
      if (!pending) return to_string(pending.error());
      return told(*pending->wait(session.env().clock.after(std::chrono::seconds(60))));
    });
  };
  EXPECT_EQ(save_by(Replicas::trust, false), "");
  const std::string warned = save_by(Replicas::warn, false);
  EXPECT_TRUE(warned.starts_with("replicas differ: \"w\" [0]+[4]: digest ")) << warned;
  EXPECT_NE(warned.find("on ranks 0,2"), std::string::npos) << warned;
  for (const bool async : {false, true}) {
    const std::string refused = save_by(Replicas::refuse, async);
    EXPECT_TRUE(refused.starts_with("write failed: rank 1: replicas differ: \"w\" [0]+[4]: digest ")) << refused;
  }
  Small destination;
  destination.tensor("w", "....");
  load_small(folder, destination);  // what was saved before is still there
  EXPECT_NE(destination.text("w"), "....");
}

TEST(Replicas, AreToldUpToTwentyARank) {
  std::vector<plan::ReplicaDifference> differences;
  for (int i = 0; i < 22; ++i) differences.push_back({"w", whole({1}), {Rank{i % 2}, Rank{2}}, fmt::format("d{}", i)});
  const ReplicaVerdict verdict = judge_replicas(differences, Replicas::refuse);
  EXPECT_EQ(verdict.failures.find(Rank{1})->message, "replicas differ: d1; d3; d5; d7; d9; d11; d13; d15; d17; d19; d21");
  EXPECT_TRUE(verdict.failures.find(Rank{2})->message.ends_with("d19; and 2 more"));
  EXPECT_TRUE(verdict.warnings.empty());
  EXPECT_EQ(judge_replicas(differences, Replicas::warn).warnings.size(), 1u);
  EXPECT_TRUE(judge_replicas(differences, Replicas::warn).failures.empty());
  EXPECT_EQ(judge_replicas({}, Replicas::refuse), ReplicaVerdict());
}

/// Any prefix and any changed byte gives a value or `corrupt`.
template <typename Value, typename Decode>
void expect_total(const Value& value, Decode decode) {
  Encoder out;
  encode(out, value);
  Decoder in(out.bytes(), "notes");
  EXPECT_EQ(decode(in).value(), value);
  EXPECT_TRUE(in.finish());
  for (std::size_t at = 0; at < out.size(); ++at) {
    Decoder cut(ByteView(out.bytes()).first(at), "notes");
    ASSERT_EQ(decode(cut).error().code, ErrorCode::corrupt);
    for (const int change : {1, 16, 127, 128, 255}) {
      Bytes changed = out.bytes();
      changed[at] ^= static_cast<std::byte>(change);
      Decoder other(changed, "notes");
      const auto decoded = decode(other);
      ASSERT_TRUE(decoded || decoded.error().code == ErrorCode::corrupt);
    }
  }
}

TEST(Notes, DecodingIsTotal) {
  expect_total(KeyNotes{{"a", "b"}, {0, 1, 2, 7, 9, 10}, {true, false}}, [](Decoder& in) { return decode_key_notes(in, 11); });
  Encoder beyond;
  encode(beyond, KeyNotes{{}, {10}, {}});
  Decoder in(beyond.bytes(), "notes");
  EXPECT_EQ(decode_key_notes(in, 10).error().message, "decode key notes: a key beyond the 10 of the checkpoint");
  expect_total(KeyReport{{"a"}, {"b", "c"}, {}}, decode_key_report);
  expect_total(SaveNotes{{{"name", "key"}}, {true}, bytes_of("structure")}, decode_save_notes);
  ReplicaVerdict verdict;
  verdict.failures.add(Rank{3}, Error{ErrorCode::corrupt, "differs"});
  verdict.warnings = {"w"};
  expect_total(verdict, decode_replica_verdict);
}

}  // namespace
}  // namespace holdfast::protocol
