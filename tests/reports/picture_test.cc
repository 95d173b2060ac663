#include <algorithm>
#include <cstdlib>

#include "reports/dot.h"
#include "reports/plan_picture.h"
#include "reports/space_time.h"
#include "reports/tensor_overlay.h"
#include "reports/text.h"
#include "tests/reports/samples.h"

namespace holdfast::reports {
namespace {

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size())) ++found;
  return found;
}

/// Nodes of a drawn SVG, as dot counts them.
std::size_t nodes_in(const std::string& svg) { return count(svg, "class=\"node\""); }

/// Every element that is opened is closed, in order: what any XML reader asks first.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const std::size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag.starts_with("!--")) continue;
    const std::string name = tag.substr(tag[0] == '/' ? 1 : 0, tag.find_first_of(" \n/", 1) - (tag[0] == '/' ? 1 : 0));
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty()) << tag;
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    }
  }
  EXPECT_TRUE(open.empty());
}

bool has_dot() { return std::system("dot -V >/dev/null 2>&1") == 0; }

std::string draw(const std::string& dot) {
  const auto svg = render_svg(dot);
  EXPECT_TRUE(svg.has_value()) << svg.error().message << "\n" << dot;
  if (!svg) return "";
  expect_well_formed(*svg);
  return *svg;
}

TEST(SavePicture, IsAcceptedByDotAndKeepsTheNodeBudgetAtEveryScale) {
  if (!has_dot()) GTEST_SKIP() << "no program dot";
  for (const int ranks : {1, 2, 8, 64, 1024}) {
    for (const std::size_t budget : {4u, 20u, 150u}) {
      const auto saved = samples::sharded_save(ranks, 3);
      const std::string svg = draw(save_plan_dot(writes_of(saved.plans, &saved.local), {.node_budget = budget}));
      EXPECT_LE(nodes_in(svg), budget) << ranks;
      EXPECT_GE(nodes_in(svg), 2u);
    }
  }
}

TEST(SavePicture, DrawsRanksWithEqualPlansAsOne) {
  const auto saved = samples::sharded_save(64, 3);
  const std::string dot = save_plan_dot(writes_of(saved.plans));
  EXPECT_NE(dot.find("<B>rank 0</B>"), std::string::npos);
  EXPECT_NE(dot.find("<B>ranks 1\xE2\x80\x93"
                     "63</B>"),
            std::string::npos);
  EXPECT_NE(dot.find("same plan"), std::string::npos);
}

TEST(SavePicture, PrintsTheNumbersOfThePlan) {
  const auto saved = samples::sharded_save(4, 3);
  const SaveSummary summary = summarise(writes_of(saved.plans, &saved.local));
  // Three chunks of 4 x 32 F32 a rank, and a vector of 8 F32 on rank 0 alone.
  EXPECT_EQ(summary.rank_bytes, (std::vector<std::uint64_t>{1568, 1536, 1536, 1536}));
  EXPECT_EQ(summary.bytes, 6176u);
  EXPECT_EQ(summary.spread.min, 1536u);
  EXPECT_EQ(summary.spread.median, 1536u);
  EXPECT_EQ(summary.spread.max, 1568u);
  EXPECT_DOUBLE_EQ(summary.spread.imbalance, 1568 * 4 / 6176.0);
  EXPECT_EQ(summary.chunks, 13u);
  EXPECT_EQ(summary.files, 4u);
  EXPECT_EQ(summary.bytes_held, 6176u + 3 * 32);
  const std::string dot = save_plan_dot(writes_of(saved.plans, &saved.local));
  EXPECT_NE(dot.find("4 ranks, imbalance " + ratio(summary.spread.imbalance)), std::string::npos);
  EXPECT_NE(dot.find(human_bytes(summary.bytes) + " in 13 chunks of 4 keys, 4 files"), std::string::npos);
  EXPECT_NE(dot.find("held by ranks 0\xE2\x80\x93"
                     "3"),
            std::string::npos);
  EXPECT_NE(dot.find("\"1568 bytes\""), std::string::npos) << "edge of rank 0";
  EXPECT_NE(dot.find("\"4608 bytes\""), std::string::npos) << "edge of ranks 1-3";
}

TEST(SavePicture, MarksAnOverloadedRank) {
  auto saved = samples::sharded_save(4, 1);
  for (int i = 0; i < 4; ++i) saved.plans[2].items.push_back(saved.plans[2].items[0]);
  EXPECT_NE(save_plan_dot(writes_of(saved.plans)).find("of the mean"), std::string::npos);
  EXPECT_EQ(save_plan_dot(writes_of(samples::sharded_save(4, 50).plans)).find("of the mean"), std::string::npos);
}

TEST(SavePicture, PutsFurtherBoxesOfATensorIntoFurtherSegments) {
  SavePlan plan;
  for (const std::int64_t row : {0, 4}) {
    const Box box{{row, 0}, {2, 8}};
    plan.items.push_back({{"w", box.offset, std::nullopt}, WriteItemType::shard, box, DType::u8, {8, 8}, 0});
  }
  plan.items.push_back({{"trainer", std::nullopt, std::nullopt}, WriteItemType::bytes, {}, DType::u8, {}, 77});
  EXPECT_EQ(summarise(writes_of({plan})).files, 3u);
  EXPECT_EQ(summarise(writes_of({plan})).bytes, 2 * 16 + 77u);
  const std::string dot = save_plan_dot(writes_of({plan}));
  EXPECT_NE(dot.find("segment-00000-001.safetensors"), std::string::npos);
  EXPECT_NE(dot.find("byte value"), std::string::npos);
}

TEST(SavePicture, FocusesOnARankATensorOrAFile) {
  const auto saved = samples::sharded_save(64, 3);
  const auto focused = [&](std::string_view focus) { return save_plan_dot(writes_of(saved.plans), {.focus = *parse_focus(focus)}); };
  EXPECT_NE(focused("rank=17").find("<B>rank 17</B>"), std::string::npos);
  EXPECT_NE(focused("rank=17").find("all others"), std::string::npos);
  EXPECT_EQ(focused("tensor=layers*").find(">norm<"), std::string::npos);
  EXPECT_NE(focused("tensor=norm").find(">norm<"), std::string::npos);
  EXPECT_EQ(focused("file=segment-00003-*").find("segment-00001-"), std::string::npos);
  EXPECT_EQ(count(focused("rank=99"), "<B>rank"), 1u) << "a rank that is not there leaves the others";
}

TEST(SavePicture, RefusesAFocusItDoesNotKnow) {
  for (const char* text : {"rank", "rank=", "rank=x", "rank=1x", "rank=-1", "host=3", "=3"}) {
    const auto focus = parse_focus(text);
    ASSERT_FALSE(focus.has_value()) << text;
    EXPECT_EQ(focus.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_EQ(parse_focus("host=3").error().message, "focus \"host=3\": expected rank=NUMBER, tensor=GLOB or file=GLOB");
}

TEST(SavePicture, SurvivesHostileNamesAndEmptyPlans) {
  if (!has_dot()) GTEST_SKIP() << "no program dot";
  draw(save_plan_dot(Writes(0)));
  draw(save_plan_dot(Writes(2)));
  for (const std::string& name : samples::hostile_names()) {
    const auto saved = samples::sharded_save(2, 2, name);
    draw(save_plan_dot(writes_of(saved.plans, &saved.local)));
    draw(save_plan_dot(writes_of(saved.plans), {.focus = {std::nullopt, name, ""}}));
  }
}

TEST(LoadPicture, IsAcceptedByDotAndKeepsTheNodeBudgetAtEveryScale) {
  if (!has_dot()) GTEST_SKIP() << "no program dot";
  for (const int ranks : {1, 8, 64}) {
    const auto saved = samples::sharded_save(ranks, 2);
    for (const int readers : {1, 8, 32}) {
      for (const std::size_t budget : {4u, 150u}) {
        const std::string svg =
            draw(load_plan_dot(reads_of(samples::column_load(saved, readers), saved.metadata, saved.files), {.node_budget = budget}));
        EXPECT_LE(nodes_in(svg), budget) << ranks << " to " << readers;
        EXPECT_GE(nodes_in(svg), 2u);
      }
    }
  }
}

TEST(LoadPicture, PrintsTheNumbersOfThePlan) {
  const auto saved = samples::sharded_save(2, 1);
  const auto plans = samples::column_load(saved, 2);
  const LoadSummary summary = summarise(reads_of(plans, saved.metadata, saved.files));
  // Half of each row of 32 F32: 4 rows span 3 rows and a half.
  EXPECT_EQ(summary.bytes_needed, 2u * 2 * 4 * 16 * 4);
  EXPECT_EQ(summary.bytes_spanned, 2u * 2 * (3 * 32 + 16) * 4);
  EXPECT_EQ(summary.bytes_stored, 2u * 4 * 32 * 4);
  EXPECT_EQ(summary.files, 2u);
  EXPECT_EQ(summary.files_a_rank_max, 2u);
  const std::string dot = load_plan_dot(reads_of(plans, saved.metadata, saved.files));
  EXPECT_NE(dot.find("amplification " + ratio(summary.amplification)), std::string::npos);
  EXPECT_NE(dot.find("2 ranks, "), std::string::npos);
  EXPECT_EQ(count(dot,
                  "<256 B \xC3\x97"
                  "1.75<BR/>"),
            4u)
      << "an edge for each file and rank";
}

TEST(LoadPicture, SurvivesHostileNamesAndWhatTheMetadataDoesNotHold) {
  if (!has_dot()) GTEST_SKIP() << "no program dot";
  draw(load_plan_dot(Reads(0, 0)));
  LoadPlan plan;
  plan.items.push_back({ReadItemType::bytes, {"trainer", {}, {}}, {}, {"trainer", {}, {}}, {}, {}});
  plan.items.push_back({ReadItemType::tensor, {"gone", Dims{0}, {}}, {0}, {"gone", Dims{0}, {}}, {0}, {4}});
  draw(load_plan_dot(reads_of({plan}, {}, {})));
  EXPECT_EQ(summarise(reads_of({plan}, {}, {})).bytes_needed, 0u);
  for (const std::string& name : samples::hostile_names()) {
    auto saved = samples::sharded_save(2, 1, name);
    for (auto& [index, file] : saved.files) file += name;
    draw(load_plan_dot(reads_of(samples::column_load(saved, 2), saved.metadata, saved.files)));
  }
}

TEST(Pictures, AreEqualForEqualInput) {
  const auto saved = samples::sharded_save(64, 3);
  EXPECT_EQ(save_plan_dot(writes_of(saved.plans)), save_plan_dot(writes_of(samples::sharded_save(64, 3).plans)));
  const auto load = samples::column_load(saved, 16);
  EXPECT_EQ(load_plan_dot(reads_of(load, saved.metadata, saved.files)), load_plan_dot(reads_of(load, saved.metadata, saved.files)));
  EXPECT_EQ(space_time_svg(samples::trace_of(40)), space_time_svg(samples::trace_of(40)));
}

TEST(Dot, TurnsAnythingOnStderrIntoAnError) {
  if (!has_dot()) GTEST_SKIP() << "no program dot";
  const auto black = render_svg("digraph { a [color=\"#abc\"] }");
  ASSERT_FALSE(black.has_value());
  EXPECT_EQ(black.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(black.error().message.starts_with("draw a picture: dot said: ")) << black.error().message;
  EXPECT_FALSE(render_svg("digraph {").has_value());
}

TEST(Dot, SaysThatTheProgramIsMissing) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  const auto svg = render_svg("digraph { }");
  setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(svg.has_value());
  EXPECT_EQ(svg.error().code, ErrorCode::unsupported);
  EXPECT_EQ(svg.error().message, "draw a picture: there is no program `dot` in PATH; install Graphviz, or keep the DOT text");
}

TEST(SpaceTime, GivesFaultyRanksALaneAndCollapsesTheRest) {
  const std::string svg = space_time_svg(samples::trace_of(1024, "power loss"));
  expect_well_formed(svg);
  EXPECT_NE(svg.find(">rank 0<"), std::string::npos);
  EXPECT_NE(svg.find(">rank 1023<"), std::string::npos) << "the rank with the fault";
  EXPECT_NE(svg.find(">1,008 others<"), std::string::npos);
  EXPECT_NE(svg.find(">power loss<"), std::string::npos);
  EXPECT_EQ(count(svg, " id=\"fault-"), 1u);
  EXPECT_LT(svg.size(), 600'000u);
}

TEST(SpaceTime, DrawsEveryCallOfASmallTrace) {
  const TraceRecord trace = samples::trace_of(4);
  const std::string svg = space_time_svg(trace);
  EXPECT_EQ(count(svg, "<title>rank "), trace.events.size());
}

TEST(SpaceTime, StaysSmallForAHundredThousandCalls) {
  TraceRecord trace = samples::trace_of(64);
  for (int i = 0; i < 100'000; ++i)
    trace.events.push_back({i * 10, i * 10 + 5, Rank{i % 64}, 0, "4 write", "net.send", "peer", 8, "ok", ""});
  const std::string svg = space_time_svg(trace);
  EXPECT_LT(svg.size(), 1'000'000u);
  EXPECT_NE(svg.find(" calls; "), std::string::npos);
}

TEST(SpaceTime, CutsLongWaitsAndNamesThem) {
  TraceRecord trace = samples::trace_of(2);
  trace.events.push_back({30'000'000'000, 30'000'001'000, Rank{0}, 0, "7 agree", "net.receive", "1", 0, "timeout", ""});
  EXPECT_NE(space_time_svg(trace).find(">30.0 s cut out<"), std::string::npos);
  trace.events.push_back({60'000'000'000, 60'000'001'000, Rank{0}, 0, "7 agree", "net.receive", "1", 0, "timeout", ""});
  EXPECT_EQ(count(space_time_svg(trace), "s cut out<"), 2u);
  EXPECT_EQ(space_time_svg(samples::trace_of(2)).find("cut out<"), std::string::npos);
}

TEST(SpaceTime, DrawsATraceWithoutDurationsByItsOrder) {
  TraceRecord trace = samples::trace_of(3);
  for (TraceEvent& event : trace.events) event.begin_ns = event.end_ns = 0;
  const std::string svg = space_time_svg(trace);
  EXPECT_NE(svg.find("order of events"), std::string::npos);
  EXPECT_EQ(count(svg, "<title>rank "), trace.events.size());
  expect_well_formed(space_time_svg({}));
}

TEST(SpaceTime, SurvivesHostileNames) {
  for (const std::string& name : samples::hostile_names()) {
    TraceRecord trace = samples::trace_of(2, name + "!");
    trace.name = trace.seed = name;
    for (TraceEvent& event : trace.events) event.step = event.op = event.object = event.result = name;
    const std::string svg = space_time_svg(trace);
    expect_well_formed(svg);
    EXPECT_EQ(svg.find("<script"), std::string::npos);
  }
}

TEST(TensorOverlay, DrawsEachSavedChunkSolidAndEachWantedBoxDashed) {
  TensorOverlay overlay{"w", DType::bf16, {8, 8}, {}, {}, {1}};
  for (std::int64_t i = 0; i < 4; ++i) overlay.saved.push_back({{2 * i, 0}, {2, 8}});
  for (std::int64_t i = 0; i < 2; ++i) overlay.wanted.push_back({{0, 4 * i}, {8, 4}});
  const std::string svg = tensor_overlay_svg(overlay);
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<title>saved chunk"), 4u);
  EXPECT_EQ(count(svg, "<title>wanted box"), 2u);
  EXPECT_EQ(count(svg, "stroke-dasharray"), 2u + 1) << "and one in the legend";
  EXPECT_NE(svg.find("box 1 needs 4 saved chunks: 0 (25 %)"), std::string::npos);
  EXPECT_NE(svg.find("[8,8] BF16"), std::string::npos);
}

TEST(TensorOverlay, DrawsTensorsOfAnyNumberOfDimensions) {
  for (std::size_t rank = 0; rank <= 5; ++rank) {
    const Dims shape(rank, 6);
    const TensorOverlay overlay{"w", DType::f32, shape, {whole(shape)}, {whole(shape)}, {0}};
    const std::string svg = tensor_overlay_svg(overlay);
    expect_well_formed(svg);
    EXPECT_NE(svg.find("box 0 needs 1 saved chunk: 0 (100 %)"), std::string::npos) << rank;
  }
  expect_well_formed(tensor_overlay_svg({"empty", DType::f32, {0, 4}, {}, {}, {3}}));
}

TEST(TensorOverlay, DrawsGridsTooFineToSeeAsOneAreaWithTheirNumber) {
  TensorOverlay overlay{"w", DType::f32, {4096, 16}, {}, {}, {}};
  for (std::int64_t i = 0; i < 1024; ++i) overlay.saved.push_back({{4 * i, 0}, {4, 16}});
  const std::string svg = tensor_overlay_svg(overlay);
  EXPECT_NE(svg.find("1,024 saved chunks, too fine to draw each"), std::string::npos);
  EXPECT_LT(svg.size(), 10'000u);
}

TEST(TensorOverlay, SurvivesHostileNames) {
  for (const std::string& name : samples::hostile_names())
    expect_well_formed(tensor_overlay_svg({name, DType::f32, {4}, {whole({4})}, {}, {}}));
}

}  // namespace
}  // namespace holdfast::reports
