"""Sentences of the ladder, of publications and of the watcher, in Chinese, by their English: see ``phrases.py``."""

from __future__ import annotations

from typing import Final

PHRASES: Final[dict[str, str]] = {
    # The ladder (artifacts/ladder.py).
    "no store to ask is configured": "没有配置可查询的存储",
    "no file is configured": "没有配置文件",
    "nothing is there": "没有内容",
    "there was none yet": "此前还没有",
    "it does not match its checksum: it was changed since it was kept": "校验和不符：保存之后被改动过",
    "its date {} is {} days ago, at most {} are accepted": "日期 {0} 已过 {1} 天，最多接受 {2} 天",
    "read from {} at {}": "读自 {0}，时间 {1}",
    "manifest {}: there is no such file": "清单 {0}：没有这个文件",
    "manifest {}: {}": "清单 {0}：{1}",
    "manifest {}": "清单 {0}",
    "nothing that upstream published could be used: an operator must look": "上游发布的内容都不可用：需要人工处理",
    "the given publication is not a good one: {}": "给定的发布不合格：{0}",
    # A publication (artifacts/payload.py).
    "a payload is a mapping of fields, not {}": "发布内容应为字段映射，而不是 {0}",
    "as_of_date is missing": "缺少 as_of_date",
    "as_of_date must be a date such as 2026-06-01, not {}": "as_of_date 应为 2026-06-01 这样的日期，而不是 {0}",
    "as_of_date {} is in the future": "as_of_date {0} 在未来",
    "as_of_date {} is stale: {} days old, at most {} are accepted": "as_of_date {0} 已过期：{1} 天前，最多接受 {2} 天",
    "{} must be text of one line, at most {} characters, not {}": "{0} 应为一行文本，最多 {1} 个字符，而不是 {2}",
    "mode is missing: {} is assumed": "缺少 mode：按 {0} 处理",
    "mode {} is not accepted (accepted: {})": "不接受 mode {0}（接受：{1}）",
    "version is missing: {} is assumed": "缺少 version：按 {0} 处理",
    "source_project is missing: {} is assumed": "缺少 source_project：按 {0} 处理",
    "symbols is missing": "缺少 symbols",
    "symbols must be a list or a mapping, not {}": "symbols 应为列表或映射，而不是 {0}",
    "symbols has no {} market": "symbols 中没有 {0} 市场",
    "pool_size must be a whole number, not {}": "pool_size 应为整数，而不是 {0}",
    "pool_size is {}, but there are {} symbols": "pool_size 为 {0}，但有 {1} 个币种",
    "there are {} symbols, {} are expected": "有 {0} 个币种，应为 {1} 个",
    "symbol_map must be a mapping, not {}": "symbol_map 应为映射，而不是 {0}",
    "a huge number": "一个极大的数",
    "a mapping": "映射",
    "a list": "列表",
    # Its manifest, and the text that it carries (artifacts/manifest.py, artifacts/release.py).
    "a manifest is a mapping of fields, not {}": "清单应为字段映射，而不是 {0}",
    "manifest_type must be {}, not {}": "manifest_type 应为 {0}，而不是 {1}",
    "contract_version {} is not known (known: {})": "未知的 contract_version {0}（已知：{1}）",
    "artifact_type must be {}, not {}": "artifact_type 应为 {0}，而不是 {1}",
    "symbols must be a list of texts": "symbols 应为文本列表",
    "the manifest's {} {} is not the payload's {}": "清单的 {0} {1} 与发布内容的 {2} 不同",
    "the manifest's symbols {} are not the payload's {}": "清单的币种 {0} 与发布内容的 {1} 不同",
    "{} have the SHA-256 {}…, the manifest names {}": "{0}的 SHA-256 为 {1}…，清单中为 {2}",
    "the text that the document carries": "文档所含文本",
    "the bytes of the payload": "发布内容的字节",
    "artifacts must be a mapping of names to path and sha256": "artifacts 应为名称到 path 和 sha256 的映射",
    "artifacts: {} has no SHA-256 of 64 hexadecimal digits": "artifacts：{0} 没有 64 位十六进制的 SHA-256",
    "artifacts must name {}": "artifacts 应包含 {0}",
    "{} must be text, not {}": "{0} 应为文本，而不是 {1}",
    "{}: its text is no mapping of fields": "{0}：其文本不是字段映射",
    "{}: its text is not JSON": "{0}：其文本不是 JSON",
    "{}: its symbols are not the document's": "{0}：其币种与文档不同",
    "{}: its {} {} is not the document's {}": "{0}：其 {1} {2} 与文档的 {3} 不同",
    # Where it is read from (artifacts/sources.py, stores/published.py).
    "{} is not a finite number": "{0} 不是有限的数",
    "key {} is given twice": "键 {0} 出现了两次",
    "{}: is larger than {} bytes; is it a publication?": "{0}：超过 {1} 字节，是发布内容吗？",
    "{}: not UTF-8 text (byte {})": "{0}：不是 UTF-8 文本（第 {1} 字节）",
    "{}: line {} column {}: not JSON: {}": "{0}：第 {1} 行第 {2} 列：不是 JSON：{3}",
    "{}: not JSON: {}": "{0}：不是 JSON：{1}",
    "{}: is nested too deeply to be a publication": "{0}：嵌套过深，不是发布内容",
    "{}: cannot be read: {}": "{0}：无法读取：{1}",
    "{}: does not match its checksum; publish it again": "{0}：校验和不符；请重新发布",
    # Symbols that are left out (cycle/job.py, artifacts/decision.py, cycle/universe.py).
    "reserved: it is traded by the settings, not by the publication": "保留：由设置交易，不由发布交易",
    "reserved: fees are paid with it": "保留：用于支付手续费",
    "contradiction: symbol_map gives {} the base asset {}": "矛盾：symbol_map 把 {0} 的基础资产写成 {1}",
    "not traded here: {}": "此处不可交易：{0}",
    # Holdings whose market does not trade (cycle/suspended.py).
    "its market trades again, its bars are not complete yet": "市场已恢复交易，但 K 线尚不完整",
    # The watcher (cycle/watch.py, cycle/suspended.py, cli/status.py).
    "the heartbeat is {} old, at most {} are right: no cycle has ended since {} ({}); look at the schedule": (
        "心跳已有 {0}，最多应为 {1}：自 {2}（{3}）以来没有周期结束；请检查调度"
    ),
    "{}, exit code {}, {}: {}": "{0}，退出码 {1}，{2}：{3}",
    "no reason was given": "没有给出原因",
    "{} slot{} missed in a row, {} are tolerated": "连续错过 {0} 个时段，容许 {2} 个",
    "history is played back: age and slots by wall time say nothing": "正在回放历史：按实际时间计算的时长和时段无意义",
    "the heartbeat is of {}": "心跳时间为 {0}",
    "the last slot is {}": "最后一个时段为 {0}",
    "{}, ahead of this computer's clock ({}): set the clock": "{0}，晚于本机时钟（{1}）：请校准时钟",
    "{} on account {}": "账户 {1} 上的 {0}",
    "no cycle of {} has ended in this store yet": "此存储中还没有 {0} 的周期结束",
    "{} has no heartbeat although slot {} was decided: see the logs of its cycles": (
        "{0} 没有心跳，但时段 {1} 已决策：请查看其周期日志"
    ),
    "only the built-in universe is left: nothing that upstream published can be used; repair upstream": (
        "只剩内置币池：上游发布的内容都不可用；请修复上游"
    ),
    "the publication is {}, not fresh: repair upstream": "发布来自 {0}，并非最新：请修复上游",
    "{} ended without telling how and did not give the lease back: the next cycle settles it": (
        "{0} 未说明结果就结束，也没有归还租约：由下一个周期处理"
    ),
    "{} is at work for more than {}, at most {} are right": "{0} 已运行超过 {1}，最多应为 {2}",
    "{} is at work, and no run has ended for {}": "{0} 正在运行，且已有 {1} 没有运行结束",
    "a run is in progress: {} has the lease": "正在运行：{0} 持有租约",
    "the last run failed ({})": "上次运行失败（{0}）",
    "{} runs failed in a row, the last as {}": "连续 {0} 次运行失败，最近一次：{1}",
    "the last run came to nothing and will be tried again ({})": "上次运行没有结果，将再次尝试（{0}）",
    "the store cannot be read, nothing is known: {}": "存储无法读取，情况不明：{0}",
    "the store refuses the watcher, nothing is known: {}": "存储拒绝了监视程序，情况不明：{0}",
    "there is no store at {}: no cycle has run with this configuration, or store.path names another place": (
        "{0} 没有存储：此配置还没有运行过周期，或 store.path 指向别处"
    ),
    "{}: {} held, and its market does not trade since {} ({}): no order in it, valued at {} of {}": (
        "{0}：持有 {1}，市场自 {2} 起停止交易（{3}）：不下单，按 {5} 的价格 {4} 估值"
    ),
}
