"""The memo in Chinese: whole texts, and patterns for those with names and numbers."""

from __future__ import annotations

import re

WORDS = {
    "Decision memo": "采购决策备忘录",
    "Conclusion": "结论",
    "Choices": "方案对比",
    "Bill of each choice": "各方案费用明细",
    "Clusters": "集群",
    "What would flip the decision": "什么会改变结论",
    "What moves the cost": "成本敏感性",
    "Sizing by hand, and why the plan differs": "手工估算与本方案的差异",
    "Risks": "风险",
    "Not considered, and why": "未入选及原因",
    "Assumptions": "假设与来源",
    "Not modelled": "未建模内容",
    "choice": "方案",
    "offer": "报价",
    "accelerators": "加速卡",
    "servers": "服务器",
    "days": "天数",
    "P(deadline)": "按期概率",
    "MFU": "MFU",
    "memory headroom": "显存余量",
    "cost": "成本",
    "90% of costs": "成本 90% 区间",
    "P(cheapest)": "最省概率",
    "layout": "并行方式",
    "component": "项目",
    "total": "合计",
    "per 1T tokens": "每万亿词元",
    "per 10²¹ FLOP": "每 10²¹ FLOP",
    "network": "网络",
    "cables": "线缆",
    "spares": "备机",
    "power": "功率",
    "racks": "机柜",
    "storage": "存储",
    "energy": "电量",
    "carbon": "碳排放",
    "goodput": "有效时间",
    "parameter": "参数",
    "now": "当前值",
    "flips at": "翻转值",
    "from": "由",
    "to": "变为",
    "low": "低",
    "high": "高",
    "cost at low": "低值成本",
    "cost at high": "高值成本",
    "winner at low": "低值最优",
    "winner at high": "高值最优",
    "never": "不会",
    "what": "对象",
    "reason": "原因",
    "name": "名称",
    "value": "数值",
    "unit": "单位",
    "date": "日期",
    "source": "来源",
    "estimated": "估计",
    "yes": "是",
    "step": "步骤",
    "rent": "租用",
    "reserved": "预留",
    "buy": "购买",
    "the provider's": "由供应商承担",
    "needed": "所需卡数",
    "whole replicas": "凑整副本",
    "with redundancy": "加冗余",
    "cluster": "集群规模",
    "plan": "本方案",
    "assumed": "假设",
    "spot": "竞价",
    "egress": "流出流量",
    "operations": "运维",
    "colocation": "机房托管",
    "electricity": "电费",
    "region": "地区",
    "USD per kWh": "美元/千瓦时",
    "kg CO2 per kWh": "千克CO2/千瓦时",
    "Energy and carbon by region": "各地区电费与碳排放",
    "Without effect on the cheapest choice": "不影响最优方案的参数",
    "MFU (relative)": "MFU(相对值)",
    "tokens (relative)": "词元数(相对值)",
    "deadline (days)": "期限(天)",
    "restart-s": "中断后自动恢复训练所需时间(秒)",
    "manual-restart-s": "中断后人工恢复训练所需时间(秒)",
    "electricity-usd-per-kwh": "电价(美元/千瓦时)",
    "depreciation-years": "折旧年限",
    "share of time": "时间占比",
    "months": "月",
    "none": "无可行方案",
    "by hand": "手工估算",
    "exact FLOPs": "精确 FLOPs",
    "MFU as predicted": "预测的 MFU",
    "failures": "故障损失",
    "days left over": "期限余量",
    "spot servers: the wait for a replacement, and that many are taken back at once": (
        "竞价实例:等待替补的时间,以及同时被大量回收"
    ),
    "taxes, import duties, financing fees and discounts beyond the stated offers": (
        "税费、关税、融资费用及报价以外的折扣"
    ),
    "delivery and construction time: bought hardware is there on the first day": (
        "交付与建设周期:假定购置的硬件首日即可用"
    ),
    "failed experiments, evaluations and restarts by choice": "失败的实验、评测与主动重启",
    "By hand: 6·parameters·tokens over peak and an assumed MFU, whole replicas, 5% more, a power of two.": (
        "手工估算:6·参数量·词元数除以峰值与假设的 MFU,凑整副本,加 5%,取 2 的幂。"
    ),
    "The plan predicts the MFU of the best layout, takes failures as lost time (goodput) and spare servers instead of "
    "more workers, and buys no more than the deadline needs.": (
        "本方案预测最优并行方式的 MFU,把故障计为损失的时间(有效时间)和备机,而不是增加训练卡,规模以满足期限为限。"
    ),
    "reserved: the whole term is paid, whether the run uses it or not": "预留:无论是否用完,都须支付整个租期",
    "no cluster meets the deadline and the budget": "没有集群能同时满足期限和预算",
    "no offer is left": "没有可用报价",
}
"""Whole texts."""

TENURES = {"rent": "租用", "spot": "竞价", "reserved": "预留", "buy": "购买"}
PAID = {"accelerator-hour": "卡时", "server-hour": "服务器时", "server": "台"}

PATTERNS: tuple[tuple[str, str], ...] = (
    (r"(\S+) (rent|spot|reserved|buy)", "{0} {T1}"),
    (r"(\S+) (rent|spot|reserved|buy): (\S+)", "{0} {T1}:{2}"),
    (r"([A-Z]{3}) per (accelerator-hour|server-hour|server)", "{0}/{P1}"),
    (r"price of (\S+)", "{0} 的价格"),
    (r"price of (\S+) \(([A-Z]{3}) per (accelerator-hour|server-hour|server)\)", "{0} 的价格({1}/{P2})"),
    (r"USD per (?!TB|GB|kW)([A-Z]{3})", "1 {0} 折合美元"),
    (r"utilisation of bought (\S+)", "自购 {0} 的利用率"),
    (r"months of continuous use of (\S+), purchase charged in full", "{0} 连续使用的月数(购置全额计入)"),
    (r"not offered \((.*)\)", "目录中没有此类报价({0})"),
    (r"its best plan costs (\S+), more than (\S+)", "其最优方案成本 {0},高于 {1}"),
    (r"(\S+) in several servers", "{0} 多机"),
    (
        r"no training-grade network between the servers of (.*): refused for more than one server",
        "{0} 的服务器之间没有可用于训练的网络,不用于多机方案",
    ),
    (r"offer (\S+)", "报价 {0}"),
    (r"speed: profile (\S+): fitted to (\d+) measured runs, residual (\S+)", "速度:{0} 由 {1} 次实测拟合,残差 {2}"),
    (r"speed: profile (\S+): not fitted to measured runs, residual (\S+)", "速度:{0} 未经实测拟合,残差 {1}"),
    (r"speed: profile inherited from (\S+) \((.*)\), residual (\S+)", "速度:沿用 {0} 的参数(原文:{1}),残差 {2}"),
    (
        r"failures: of (\S+) no cluster's rate was found; it is that of the clusters of all kinds",
        "故障:未找到 {0} 集群的公开故障率,取所有类型集群的分布",
    ),
    (r"accelerator-hours-per-failure\.(\S+)", "平均每次故障的卡时({0})"),
    (r"export: (.*)", "出口管制(原文:{0})"),
    (r"offer (\S+): estimated (.*)", "报价 {0}:以下字段为估计值:{1}"),
    (r"offer (\S+) \(([\d-]+)\): (.*)", "报价 {0}({1},原文:{2})"),
    (
        r"(\S+): network between servers not stated by (.*); assumed (\S+) Gbit/s per accelerator, as in (.*)",
        "{0}:{1} 未说明服务器间网络;假定每卡 {2} Gbit/s(参照 {3})",
    ),
    (
        r"spot: the provider may take servers back at any time; (\S+) a month assumed, .*",
        "竞价:供应商可随时收回服务器;假定每月收回 {0},逐台发生且立即有替补,而实际常常成批收回,也无人保证有替补",
    ),
    (r"sequence length (\d+) tokens, as (\S+) was trained", "序列长度 {0} 词元,与 {1} 的训练相同"),
    (r"sequence length (\d+) tokens", "序列长度 {0} 词元"),
    (r"global batch about (\S+)M tokens, as (\S+) was trained", "全局批量约 {0}M 词元,与 {1} 的训练相同"),
    (r"global batch about (\S+)M tokens, the catalog's assumption", "全局批量约 {0}M 词元,取目录假设"),
)
"""Texts with names and numbers in them: the whole text, and what is said instead ({T1}: a tenure, {P1}: a unit)."""


ASSUMPTIONS = {
    "accelerator-hours-per-failure": "平均每次故障的卡时",
    "spot-share-taken-per-month": "竞价服务器每月被收回的比例",
    "restart-s": "中断后自动恢复训练所需时间",
    "manual-restart-s": "中断后人工恢复训练所需时间",
    "replica-stall-s": "单个副本故障后其余副本停顿时间",
    "replica-share": "单个副本占集群的比例",
    "checkpoint-bytes-per-s-per-accelerator": "每卡对应的存储写入带宽",
    "checkpoint-write-s": "写一次检查点的最长时间",
    "checkpoints-kept": "保留的检查点数",
    "repair-s": "故障服务器修复时间",
    "spare-availability": "备机够用的概率",
    "discount-rate": "资金成本",
    "depreciation-years": "折旧年限",
    "residual-share": "残值比例",
    "operations-share": "运维费率(支持、备件、人员)",
    "colocation-usd-per-kw-month": "机房托管单价",
    "electricity-usd-per-kwh": "电价",
    "pue": "PUE",
    "rack-kw": "单机柜功率",
    "switch-usd": "交换机单价",
    "link-usd": "链路单价(线缆与光模块)",
    "switch-w": "交换机功率",
    "transceiver-w": "光模块功率",
    "storage-usd-per-tb": "闪存单价",
    "storage-least-tb": "最小文件系统容量",
    "storage-bytes-per-s-per-tb": "每 TB 闪存的写入带宽",
    "storage-rent-usd-per-tb-month": "租用存储单价(按容量)",
    "storage-rent-bytes-per-s-per-tb": "租用存储随容量附带的带宽",
    "storage-rent-most-bytes-per-s-per-tb": "租用存储每 TB 的最大带宽",
    "storage-rent-usd-per-gb-s-month": "租用存储附加带宽单价",
    "egress-usd-per-gb": "流出流量单价",
    "carbon-kg-per-kwh": "电网碳排放强度",
    "charge": "购置费计入方式",
}
UNITS = {
    "hours": "小时",
    "natural logarithm": "自然对数",
    "share of servers per 30 days": "每 30 天服务器占比",
    "share of accelerators": "占加速器比例",
    "seconds": "秒",
    "bytes/s": "字节/秒",
    "bytes/s per TB": "字节/秒·TB",
    "checkpoints": "个",
    "probability": "概率",
    "bytes": "字节",
    "per year": "每年",
    "years": "年",
    "share of the price": "占价格比例",
    "share of capital expenditure per year": "每年占资本支出比例",
    "USD per kW of IT power and month": "美元/千瓦·月",
    "USD/kWh": "美元/千瓦时",
    "facility power over IT power": "总功率与 IT 功率之比",
    "kW": "千瓦",
    "USD": "美元",
    "W": "瓦",
    "USD per TB": "美元/TB",
    "TB": "TB",
    "USD per TB and month": "美元/TB·月",
    "USD per GB/s and month": "美元/GB/s·月",
    "USD per GB": "美元/GB",
    "kg CO2e per kWh": "千克二氧化碳当量/千瓦时",
}


def assumption_in_chinese(name: str, unit: str) -> tuple[str, str]:
    """Name and unit of an assumption; its name in the catalog stays beside the Chinese one."""
    known = ASSUMPTIONS.get(name.partition(".")[0])
    said = name if known is None else f"{known}({name})"
    return said.replace("price:", "价格:").replace("fx:", "汇率:"), UNITS.get(unit, in_chinese(unit))


def amount_in_chinese(sign: str, amount: float) -> str:
    """An amount in 万 and 亿."""
    if amount >= 1e8:
        return f"{sign}{amount / 1e8:,.2f} 亿"
    return f"{sign}{amount / 1e4:,.1f} 万" if amount >= 1e4 else f"{sign}{amount:,.0f}"


def in_chinese(text: str) -> str:
    """A text of the memo in Chinese; what the catalog's authors wrote stays as it is and is marked as their words."""
    if text in WORDS:
        return WORDS[text]
    for pattern, said in PATTERNS:
        if found := re.fullmatch(pattern, text):
            groups = found.groups()
            words = {f"T{n}": TENURES.get(one, one) for n, one in enumerate(groups)}
            return said.format(*groups, **words, **{f"P{n}": PAID.get(one, one) for n, one in enumerate(groups)})
    return text
