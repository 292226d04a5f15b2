"""Which column of a file is which: by its usual English or Chinese name, or as the user says."""

import re
from collections.abc import Mapping, Sequence

from zhiyin.core.errors import InputError

_NAMES: dict[str, str] = {
    "user_id": "user userid uid customer customerid custid client clientid reviewerid memberid visitorid buyerid person"
    " personid 用户 用户id 用户编号 用户名 用户标识 客户 客户编号 客户id 客户号 会员 会员id 会员编号 会员号 顾客"
    " 顾客编号 买家",
    "item_id": "item itemid iid asin parentasin product productid movie movieid stockcode sku skuid goodsid isbn book"
    " bookid video videoid song songid track trackid article articleid news newsid contentid mlid appid game gameid"
    " anime animeid recipe recipeid businessid beerid venueid locationid poiid gmapid jokeid 商品 商品id 商品编号"
    " 商品编码 商品代码 物品 物品id 物品编号 产品 产品id 产品编号 产品编码 货号 电影 电影id 电影编号 视频 视频id 内容id"
    " 存货编码 歌曲 歌曲id 图书 图书id 书籍 文章 文章id 新闻 新闻id 课程 课程id 酒店 酒店id",
    "event": "eventtype eventname eventkind action actiontype behavior behaviour behaviortype feedbacktype interaction"
    " interactiontype type 事件 事件类型 行为 行为类型 动作 操作",
    "rating": "rating ratings score stars star overall reviewscore 评分 打分 得分 星级",
    "value": "value playtime duration watchtime playduration 值 数值 时长 播放时长 观看时长",
    "quantity": "quantity qty count amount 数量 件数 购买数量 销售数量",
    "price": "price unitprice 单价 价格 售价",
    "timestamp": "timestamp time datetime date ts eventtime createdat createtime invoicedate orderdate ordertime"
    " unixreviewtime reviewtime 时间 时间戳 日期 下单时间 订单时间 交易时间 发票日期 购买时间 评分时间 创建时间",
    "session_id": "session sessionid invoice invoiceno invoicenumber orderid orderno ordernumber basketid 会话 会话id"
    " 订单 订单号 订单编号 发票 发票号 发票编号 发票号码",
    "event_id": "eventid 事件id 事件编号",
    "recommendation_id": "recommendationid 推荐id 推荐编号",
    "position": "position 位置",
    "title": "title name itemname productname producttitle movietitle 标题 名称 商品名称 商品名 商品标题 产品名称"
    " 电影名 片名 caption",
    "description": "description desc 描述 商品描述 简介 介绍 plot overview summary",
    "categories": "category categories genre genres class tags 类别 分类 类目 品类 类型 标签",
    "image": "image imageurl imageurlhighres picture poster imurl 图片 图片链接",
    "audio": "audio audiourl 音频",
    "available_from": "availablefrom releasedate 上架时间 上映日期",
    "available": "available instock 是否上架 在售",
}

_ALIASES = {alias: name for name, aliases in _NAMES.items() for alias in aliases.split()}
_ALIASES |= {name.replace("_", ""): name for name in _NAMES}

RECBOLE = re.compile(r"^(.+):(token|float|token_seq|float_seq)$")


def alias(column: str) -> str | None:
    """The canonical name that `column` usually stands for."""
    typed = RECBOLE.match(column)
    return _ALIASES.get(re.sub(r"[\s_\-./()（）]", "", (typed[1] if typed else column).lower()))


def recognise(
    names: Sequence[str], given: Mapping[str, str], wanted: Sequence[str], file: str, required: Sequence[str]
) -> dict[str, int]:
    """Canonical name -> place of its column. given: column of the file -> canonical name, before all guessing.

    Raises `InputError` where a given column is absent, a given name is no canonical one, or a required one is missing.
    """
    found: dict[str, int] = {}
    for column, name in given.items():
        if name not in _NAMES:
            raise InputError(
                f"{name!r} in the mapping {column}={name} is no column of events; known: {', '.join(_NAMES)}"
            )
        if column in names and name in wanted:
            found[name] = list(names).index(column)
    for place, column in enumerate(names):
        name_ = alias(column)
        if name_ is None or column in given:
            continue
        if name_ in wanted and name_ not in found and place not in found.values():
            found[name_] = place
    for name in required:
        if name not in found:
            raise InputError(
                f"{file}: no column for {name} among {', '.join(map(repr, names[:20]))};"
                f" say which one it is with --map COLUMN={name}"
            )
    return found
