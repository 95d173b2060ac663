// The planner of transfers against a naive one, which compares all boxes with all, over every way to cut small tensors twice; and its parts, each against
// what a count of elements or bytes says.
#include "impl/plan/transfer_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "impl/core/layout.h"
#include "impl/plan/transfer_codec.h"
#include "impl/plan/transfer_windows.h"
#include "properties/gen/draw.h"

namespace holdfast::plan {
namespace {

using properties::gen::Draw;

constexpr std::int32_t ranks = 3;
constexpr std::uint64_t large = 1 << 20;

/// Whole on every rank, chunked over any two or three placements, or flat with a run on every rank.
std::vector<Layout> layouts_of(const Dims& shape) {
  std::vector<Layout> layouts = {ReplicatedLayout{}};
  for (int dim = 0; dim < static_cast<int>(shape.size()); ++dim) {
    for (std::int32_t a = 0; a < ranks; ++a) {
      for (std::int32_t b = 0; b < ranks; ++b) {
        layouts.push_back(ChunkLayout{dim, {Rank{a}, Rank{b}}});
        for (std::int32_t c = 0; c < ranks; ++c) layouts.push_back(ChunkLayout{dim, {Rank{a}, Rank{b}, Rank{c}}});
      }
    }
  }
  const std::int64_t elements = volume({shape.data(), shape.size()});
  for (std::int64_t first = 0; first <= elements; ++first) {
    for (std::int64_t second = first; second <= elements; ++second)
      layouts.push_back(FlatLayout{{{Rank{0}, 0, first}, {Rank{1}, first, second - first}, {Rank{2}, second, elements - second}}});
  }
  const Box all = whole(shape);
  layouts.push_back(EnumerableLayout{{{Rank{1}, all}, {Rank{2}, all}}});
  return layouts;
}

TransferTensor tensor_of(const Layout& layout, const Dims& shape, Rank rank, DType dtype = DType::f32) {
  TransferTensor tensor{dtype, shape, {}};
  const std::vector<Box> boxes = local_boxes(layout, shape, rank).value();
  for (const Box& box : boxes) tensor.boxes.push_back({box});
  return tensor;
}

std::vector<TransferOffer> offers_of(const Layout& from, const Layout& to, const Dims& shape) {
  std::vector<TransferOffer> offers(ranks);
  for (Rank rank{0}; rank.value < ranks; ++rank.value) {
    offers[static_cast<std::size_t>(rank.value)].held["w"] = tensor_of(from, shape, rank);
    offers[static_cast<std::size_t>(rank.value)].wanted["w"] = tensor_of(to, shape, rank);
  }
  return offers;
}

using Flow = std::tuple<Rank, std::uint32_t, Rank, std::uint32_t, Dims, Dims>;  // from whose shard to whose, and the box

/// For each wanted box each held box: own memory, the only holder, or, the largest first, whoever has least to send.
std::set<Flow> naive_flows(const std::vector<TransferOffer>& offers) {
  struct Piece {
    Box box;
    Rank to;
    std::uint32_t shard;
    std::map<Rank, std::uint32_t> holders;
  };
  std::vector<Piece> pieces;
  for (std::size_t to = 0; to < offers.size(); ++to) {
    const auto& wanted = offers[to].wanted.at("w").boxes;
    for (std::size_t shard = 0; shard < wanted.size(); ++shard) {
      std::map<Box, std::map<Rank, std::uint32_t>> found;
      for (std::size_t from = 0; from < offers.size(); ++from) {
        const auto& held = offers[from].held.at("w").boxes;
        for (std::size_t i = held.size(); i-- > 0;) {
          if (intersection(held[i].box, wanted[shard].box) && !held[i].box.empty())
            found[held[i].box][Rank{static_cast<std::int32_t>(from)}] = static_cast<std::uint32_t>(i);
        }
      }
      for (const auto& [box, holders] : found)
        pieces.push_back(
            {*intersection(box, wanted[shard].box), Rank{static_cast<std::int32_t>(to)}, static_cast<std::uint32_t>(shard), holders});
    }
  }
  std::set<Flow> flows;
  std::map<Rank, std::int64_t> load;
  const auto flow = [&](const Piece& piece, Rank from) {
    flows.emplace(from, piece.holders.at(from), piece.to, piece.shard, piece.box.offset, piece.box.size);
    if (from != piece.to) load[from] += piece.box.volume();
  };
  std::vector<Piece> open;
  for (const Piece& piece : pieces) {
    if (piece.holders.contains(piece.to)) {
      flow(piece, piece.to);
    } else if (piece.holders.size() == 1) {
      flow(piece, piece.holders.begin()->first);
    } else {
      open.push_back(piece);
    }
  }
  std::stable_sort(open.begin(), open.end(), [](const Piece& a, const Piece& b) { return a.box.volume() > b.box.volume(); });
  for (const Piece& piece : open) {
    Rank best = piece.holders.begin()->first;
    for (const auto& [rank, shard] : piece.holders) {
      if (load[rank] < load[best]) best = rank;
    }
    flow(piece, best);
  }
  return flows;
}

std::set<Flow> flows_of(const TransferPlan& plan) {
  std::set<Flow> flows;
  for (const Move& move : plan.moves) {
    const bool is_new =
        flows.emplace(move.source, move.source_shard, move.destination, move.destination_shard, move.box.offset, move.box.size).second;
    EXPECT_TRUE(is_new);
  }
  return flows;
}

/// Fills every wanted box, element by element, from what the moves bring, and finds each filled once with its own number.
void expect_whole(const TransferPlan& plan, const std::vector<TransferOffer>& offers) {
  std::map<std::pair<Rank, std::uint32_t>, std::multiset<Dims>> filled;
  for (const Move& move : plan.moves) {
    EXPECT_TRUE(contains(offers[static_cast<std::size_t>(move.source.value)].held.at("w").boxes.at(move.source_shard).box, move.box));
    for (std::int64_t i = 0; i < move.box.volume(); ++i) {
      Dims at = move.box.offset;
      std::int64_t rest = i;
      for (std::size_t d = at.size(); d-- > 0; rest /= move.box.size[d]) at[d] += rest % move.box.size[d];
      filled[{move.destination, move.destination_shard}].insert(at);
    }
  }
  for (std::size_t r = 0; r < offers.size(); ++r) {
    const auto& boxes = offers[r].wanted.at("w").boxes;
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const auto& found = filled[{Rank{static_cast<std::int32_t>(r)}, static_cast<std::uint32_t>(i)}];
      EXPECT_EQ(static_cast<std::int64_t>(found.size()), boxes[i].box.volume());
      EXPECT_EQ(std::set<Dims>(found.begin(), found.end()).size(), found.size());
      for (const Dims& at : found) EXPECT_TRUE(contains(boxes[i].box, {at, Dims(at.size(), 1)}));
    }
  }
}

TEST(TransferPlan, IsTheNaiveOneForEveryPairOfSmallLayouts) {
  std::size_t pairs = 0;
  for (const Dims& shape : {Dims{}, Dims{0}, Dims{1}, Dims{3}, Dims{4}, Dims{2, 2}, Dims{3, 2}}) {
    const std::vector<Layout> layouts = layouts_of(shape);
    for (const Layout& from : layouts) {
      for (const Layout& to : layouts) {
        const std::vector<TransferOffer> offers = offers_of(from, to, shape);
        const TransferDecision decision = global_transfer_plan(offers, {large});
        ASSERT_TRUE(decision.failures.empty()) << to_string(decision.failures);
        ASSERT_EQ(flows_of(decision.plan), naive_flows(offers)) << to_string(from) << " to " << to_string(to);
        if (pairs++ % 7 == 0) expect_whole(decision.plan, offers);
        ASSERT_TRUE(check_transfer_plan(decision.plan, offers, large));
      }
    }
  }
  EXPECT_GT(pairs, 10'000u);
}

TEST(TransferPlan, IsWholeInWindowsOfAnySize) {
  const Dims shape = {5, 3};
  const std::vector<Layout> layouts = layouts_of(shape);
  for (std::size_t i = 0; i < layouts.size(); i += 3) {
    for (std::size_t k = 1; k < layouts.size(); k += 5) {
      for (const std::uint64_t window : {16u, 32u, 48u, 128u}) {
        const std::vector<TransferOffer> offers = offers_of(layouts[i], layouts[k], shape);
        const TransferDecision decision = global_transfer_plan(offers, {window});
        ASSERT_TRUE(check_transfer_plan(decision.plan, offers, window)) << to_string(layouts[i]) << " to " << to_string(layouts[k]);
        expect_whole(decision.plan, offers);
        for (const Move& move : decision.plan.moves) EXPECT_LE(move.bytes, window);
      }
    }
  }
}

TEST(TransferPlan, SpreadsWhatManyHoldOverThem) {
  std::vector<TransferOffer> offers(6);
  for (std::int32_t t = 0; t < 30; ++t) {
    for (std::size_t r = 0; r < 3; ++r) offers[r].held[fmt::format("w{}", t)] = tensor_of(ReplicatedLayout{}, {10}, Rank{0});
    for (std::size_t r = 3; r < 6; ++r) offers[r].wanted[fmt::format("w{}", t)] = tensor_of(ReplicatedLayout{}, {10}, Rank{0});
  }
  const TransferDecision decision = global_transfer_plan(offers, {large});
  std::map<Rank, std::uint64_t> sent;
  for (const Move& move : decision.plan.moves) sent[move.source] += move.bytes;
  EXPECT_EQ(sent, (std::map<Rank, std::uint64_t>{{Rank{0}, 1200}, {Rank{1}, 1200}, {Rank{2}, 1200}}));
}

TEST(TransferPlan, RefusesOnExactlyTheRanksThatAsk) {
  std::vector<TransferOffer> offers(3);
  offers[0].held["w"] = tensor_of(ReplicatedLayout{}, {4}, Rank{0});
  offers[1].wanted["w"] = tensor_of(ReplicatedLayout{}, {5}, Rank{0});
  offers[2].wanted["w"] = tensor_of(ReplicatedLayout{}, {4}, Rank{0}, DType::i32);
  offers[2].wanted["x"] = tensor_of(ReplicatedLayout{}, {4}, Rank{0});
  const TransferDecision decision = global_transfer_plan(offers, {large});
  EXPECT_EQ(
      to_string(decision.failures),
      "rank 1: plan transfer: \"w\": shape [4] in the source of rank 0, [5] in the destination of rank 1 (invalid_argument); "
      "rank 2: plan transfer: 2 problems: \"w\": dtype F32 in the source of rank 0, I32 in the destination of rank 2; nothing is cast; "
      "\"x\" of the destination: no rank holds it (invalid_argument)");
  EXPECT_EQ(decision.missing, std::vector<std::string>{"x"});
}

TEST(TransferPlan, RefusesUnequalBoxesThatOverlap) {
  std::vector<TransferOffer> offers(2);
  offers[0].held["w"] = {DType::f32, {4}, {{{{0}, {3}}}}};
  offers[1].held["w"] = {DType::f32, {4}, {{{{2}, {2}}}}};
  offers[1].wanted["w"] = tensor_of(ReplicatedLayout{}, {4}, Rank{0});
  EXPECT_EQ(
      to_string(global_transfer_plan(offers, {large}).failures),
      "rank 0: plan transfer: \"w\": box [0]+[3] of this rank's source overlaps with [2]+[2] of rank 1, and is not equal to it "
      "(invalid_argument); rank 1: plan transfer: \"w\": box [2]+[2] of this rank's source overlaps with [0]+[3] of rank 0, and is not "
      "equal to it (invalid_argument)");
}

TEST(TransferPlan, LeavesWhatIsInPlaceOnlyToARankThatHoldsIt) {
  std::vector<TransferOffer> offers = offers_of(EnumerableLayout{{{Rank{1}, whole({4})}}}, ReplicatedLayout{}, {4});
  offers[1].wanted["w"].boxes[0].in_place = true;
  const TransferDecision decision = global_transfer_plan(offers, {large});
  EXPECT_EQ(decision.plan.moves.size(), 2u);
  EXPECT_TRUE(check_transfer_plan(decision.plan, offers, large));
  offers[2].wanted["w"].boxes[0].in_place = true;
  EXPECT_EQ(to_string(global_transfer_plan(offers, {large}).failures),
            "rank 2: plan transfer: \"w\": wanted [0]+[4] is in place, and this rank's source does not hold it (invalid_argument)");
}

TEST(TransferPlan, IsCheckedElementByElement) {
  const std::vector<TransferOffer> offers = offers_of(ChunkLayout{0, {Rank{0}, Rank{1}}}, ReplicatedLayout{}, {4});
  const TransferPlan good = global_transfer_plan(offers, {large}).plan;
  ASSERT_TRUE(check_transfer_plan(good, offers, large));
  for (std::size_t i = 0; i < good.moves.size(); ++i) {
    TransferPlan twice = good;
    twice.moves.push_back(good.moves[i]);
    EXPECT_FALSE(check_transfer_plan(twice, offers, large)) << i;
    TransferPlan without = good;
    without.moves.erase(without.moves.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(check_transfer_plan(without, offers, large)) << i;
    TransferPlan elsewhere = good;
    elsewhere.moves[i].source = Rank{2};
    EXPECT_FALSE(check_transfer_plan(elsewhere, offers, large)) << i;
  }
  EXPECT_FALSE(check_transfer_plan(good, offers, 16));
}

TEST(TransferWindows, CutEveryBoxIntoAllOfItAndNoMore) {
  for (const Dims& size : {Dims{}, Dims{1}, Dims{7}, Dims{3, 4}, Dims{2, 1, 5}, Dims{2, 3, 4}}) {
    for (std::uint64_t bytes_max = 4; bytes_max <= 100; bytes_max += 4) {
      const Box box{Dims(size.size(), 2), size};
      std::int64_t elements = 0;
      std::set<Dims> starts;
      for (const Box& part : cut_to_fit(box, 4, bytes_max)) {
        EXPECT_LE(static_cast<std::uint64_t>(part.volume()) * 4, bytes_max);
        EXPECT_TRUE(contains(box, part));
        EXPECT_TRUE(starts.insert(part.offset).second);
        elements += part.volume();
      }
      EXPECT_EQ(elements, box.volume());
    }
  }
}

TEST(TransferWindows, KeepAllPairsAtWork) {
  // Everybody sends 160 bytes to everybody else, 16 at once: 7 peers, so 70 windows if no rank ever waits.
  std::vector<Move> moves;
  for (std::int32_t from = 0; from < 8; ++from) {
    for (std::int32_t to = 0; to < 8; ++to) {
      for (int i = 0; from != to && i < 10; ++i) moves.push_back({0, Rank{from}, Rank{to}, 0, 0, {}, 16, 0});
    }
  }
  EXPECT_EQ(schedule(moves, 8, 16), 70u);
}

TEST(TransferCodec, GivesOffersAndPlansBackAndRefusesEveryCut) {
  Draw draw(7);
  const std::vector<Layout> layouts = layouts_of({3, 2});
  for (int i = 0; i < 50; ++i) {
    std::vector<TransferOffer> offers = offers_of(layouts[draw.below(layouts.size())], layouts[draw.below(layouts.size())], {3, 2});
    if (!offers[0].wanted["w"].boxes.empty()) offers[0].wanted["w"].boxes[0].in_place = true;
    Encoder out;
    encode(out, offers[0]);
    Decoder in(out.bytes(), "offer");
    EXPECT_EQ(decode_transfer_offer(in).value(), offers[0]);
    EXPECT_TRUE(in.finish());
    offers[0].wanted["w"].boxes.clear();
    for (const TransferPlan& part : parts_of(global_transfer_plan(offers, {16}).plan, ranks)) {
      Encoder message;
      encode(message, part);
      Decoder whole(message.bytes(), "plan");
      EXPECT_EQ(decode_transfer_plan(whole).value(), part);
      for (std::size_t bytes = 0; bytes < message.size(); ++bytes) {
        Decoder cut(ByteView(message.bytes()).first(bytes), "plan");
        const auto decoded = decode_transfer_plan(cut);
        ASSERT_FALSE(decoded) << bytes;
        EXPECT_EQ(decoded.error().code, ErrorCode::corrupt);
      }
    }
  }
}

TEST(TransferOffer, FindsSharedMemoryExactly) {
  // Two blocks of 2 by 2 one-byte elements, anywhere in 12 bytes, with any strides: what their bytes say.
  std::byte memory[12] = {};
  std::vector<StridedBlock> blocks;
  for (std::int64_t start = 0; start < 12; ++start) {
    for (std::int64_t a = -5; a <= 5; ++a) {
      for (std::int64_t b = 1; b <= 3; ++b) {
        std::set<std::int64_t> bytes = {start, start + a, start + b, start + a + b};
        if (bytes.size() == 4 && *bytes.begin() >= 0 && *bytes.rbegin() < 12) blocks.push_back({memory + start, {2, 2}, {a, b}, 1});
      }
    }
  }
  const auto bytes_of = [&](const StridedBlock& block) {
    std::set<std::ptrdiff_t> bytes;
    for_each_run(block, [&](std::int64_t at, std::int64_t elements) {
      for (std::int64_t i = 0; i < elements; ++i) bytes.insert(block.data + at + i - memory);
    });
    return bytes;
  };
  const auto state_of = [](const char* name, const StridedBlock& block) {
    StateDict state;
    EXPECT_TRUE(state.add(name, TensorEntry{DType::u8, {2, 2}, true, {{whole({2, 2}), block}}}));
    return state;
  };
  ASSERT_GT(blocks.size(), 100u);
  for (const StridedBlock& a : blocks) {
    for (const StridedBlock& b : blocks) {
      std::set<std::ptrdiff_t> both = bytes_of(a);
      both.merge(bytes_of(b));
      const bool is_apart = both.size() == 8;
      EXPECT_EQ(local_transfer_offer(state_of("w", a), state_of("v", b)).has_value(), is_apart);
      const bool is_same = a.data == b.data && a.strides_bytes == b.strides_bytes;
      const Result<TransferOffer> offer = local_transfer_offer(state_of("w", a), state_of("w", b));
      EXPECT_EQ(offer.has_value(), is_apart || is_same);
      EXPECT_EQ(offer && offer->wanted.at("w").boxes.front().in_place, is_same);
    }
  }
}

TEST(TransferOffer, NamesWhatSharesMemory) {
  std::byte memory[64] = {};
  StateDict from, to;
  ASSERT_TRUE(from.add("w", memory, DType::u8, {8}, ReplicatedLayout{}, Rank{0}));
  ASSERT_TRUE(to.add("v", memory + 20, DType::u8, {8}, ReplicatedLayout{}, Rank{0}));
  ASSERT_TRUE(to.add("u", memory + 27, DType::u8, {8}, ReplicatedLayout{}, Rank{0}));
  ASSERT_TRUE(to.add("w", memory + 4, DType::u8, {8}, ReplicatedLayout{}, Rank{0}));
  ASSERT_TRUE(to.add_bytes("note", {}));
  EXPECT_EQ(
      local_transfer_offer(from, to).error().message,
      "plan transfer: 3 problems: \"note\" of the destination is a byte value; only tensors are moved; \"w\" box [0]+[8] of the source and "
      "\"w\" box [0]+[8] of the destination share memory; only the same box in the same memory may; \"v\" box [0]+[8] and \"u\" box "
      "[0]+[8] of "
      "the destination share memory; both would be written");
}

}  // namespace
}  // namespace holdfast::plan
