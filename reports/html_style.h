// The style sheet of the HTML report.
#pragma once

#include <string_view>

namespace holdfast::reports {

inline constexpr std::string_view html_style = R"css(
:root{--ground:#fff;--panel:#f4f6f9;--line:#d5dce6;--ink:#17202e;--soft:#5b6778;--blue:#0072b2;--good:#007a59;--good-back:#d9f2ea;
--bad:#b84a00;--bad-back:#ffe3d1;--none:#66717f;--none-back:#e9edf3;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ground:#0f141b;--panel:#171e28;--line:#303b4a;--ink:#e7ecf3;--soft:#9aa7b8;--blue:#4aa8e0;
--good:#35cfa2;--good-back:#0f3a2f;--bad:#ff9c5f;--bad-back:#4a2410;--none:#9aa7b8;--none-back:#242e3b}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:3.5rem}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
main,header>div,nav>div,footer{max-width:76rem;margin:0 auto;padding:0 1.5rem}
header{padding:2.2rem 0 1.2rem}
h1{font-size:1.9rem;line-height:1.2;margin:.6rem 0 .4rem}
h2{font-size:1.35rem;margin:2.6rem 0 .9rem}
h3{font-size:1.08rem;margin:0 0 .5rem}
h4{font-size:.95rem;margin:1.2rem 0 .4rem}
a{color:var(--blue)}
nav{position:sticky;top:0;z-index:1;background:var(--ground);border-bottom:1px solid var(--line)}
nav>div{display:flex;flex-wrap:wrap;gap:0 1.4rem}
nav a{padding:.6rem 0;text-decoration:none;font-weight:600;font-size:.93rem}
code{font:.88em/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
.command{display:block;background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:.5rem .8rem;
margin:.5rem 0;user-select:all}
.facts{color:var(--soft);margin:.2rem 0}
.badge{display:inline-block;padding:.12rem .7rem;border-radius:99px;font-weight:700;font-size:.85rem;white-space:nowrap}
.good{color:var(--good);background:var(--good-back)}
.bad{color:var(--bad);background:var(--bad-back)}
.none{color:var(--none);background:var(--none-back)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.8rem;margin:1.6rem 0 .8rem}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:.8rem 1rem}
.tile b{display:block;font-size:1.6rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.88rem}
.funnel{display:grid;grid-template-columns:max-content 1fr max-content;gap:.35rem .9rem;align-items:center;margin:1rem 0}
.funnel i{display:block;height:.95rem;border-radius:3px;background:var(--blue);min-width:2px}
.funnel b{font-variant-numeric:tabular-nums;text-align:right}
article{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.3rem;margin:0 0 1.1rem;
scroll-margin-top:3.5rem}
article.failed{border-left:5px solid var(--bad)}
article:target{outline:2px solid var(--blue)}
article h3 .badge{margin-right:.6rem;vertical-align:.08em}
article p{margin:.5rem 0;overflow-wrap:anywhere}
figure{margin:1rem 0}
figure>div{overflow-x:auto;border:1px solid var(--line);border-radius:8px;background:var(--ground)}
figure svg{display:block;max-width:100%;height:auto;margin:0 auto}
figcaption{font-size:.9rem;color:var(--soft);margin-top:.35rem}
figcaption b{color:var(--ink)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.32rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600}
.matrix{border-collapse:separate;border-spacing:3px}
.matrix td,.matrix th{border:0;border-radius:4px;text-align:center;white-space:nowrap}
.matrix th:first-child{text-align:left;color:var(--ink)}
.count{text-align:right}
.sources{margin-bottom:1.1rem}
.sources th{overflow-wrap:normal}
.sources td:first-child{white-space:nowrap}
footer{color:var(--soft);font-size:.88rem;padding:2rem 1.5rem 3rem}
@media print{nav{display:none}article{break-inside:avoid}}
)css";

}  // namespace holdfast::reports
