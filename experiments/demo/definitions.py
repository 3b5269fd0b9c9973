"""The documents a growth team at the simulated shop would have written, with dates that end now."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

MEMBERS_DAY = "members-day"
WINBACK = "dormant-winback"
FREE_SHIPPING = "free-shipping-79"
EARLY_ACCESS = "loyal-early-access"
WELCOME = "welcome-points"
LIFECYCLE = "lifecycle"
HOME_PAGE = "home-page-picks"
REMINDER = "points-reminder"
CART = "cart-nudge"

PROJECT_NAME = {"en": "Harbour Retail (simulated)", "zh-CN": "海港零售（模拟数据）"}
"""The project's name says what it is: pages, exports and reports all carry it."""

PROJECT = """
kind: project
name: {en: Harbour Retail (simulated), zh-CN: 海港零售（模拟数据）}
currency: CNY
time_zone: Asia/Shanghai
attributes:
  stage: {type: string, kept: stored, changes_with_offer: true, label: {en: Lifecycle stage, zh-CN: 生命周期阶段}}
  tier:
    type: string
    label: {en: Tier, zh-CN: 会员等级}
    levels:
      basic: {en: Basic, zh-CN: 普通会员}
      silver: {en: Silver, zh-CN: 银卡会员}
      gold: {en: Gold, zh-CN: 金卡会员}
  joined_at: {type: date, kept: stored, label: {en: Joined, zh-CN: 入会时间}}
  last_order_at: {type: date, kept: stored, changes_with_offer: true, label: {en: Last order, zh-CN: 最近下单}}
  orders_180d: {type: number, changes_with_offer: true, label: {en: Orders in half a year, zh-CN: 半年订单}}
  cart_minor: {type: number, kept: request, label: {en: Cart, zh-CN: 购物车金额}}
"""

STAGES = """
kind: stage_rule
key: lifecycle
name: {en: Lifecycle, zh-CN: 生命周期}
computed: {login: App Visited, joined: joined_at, keep: [last_order_at, orders_180d]}
stages:
  - stage: churned
    name: {en: Churned, zh-CN: 流失}
    rule: {attribute: last_order_at, op: days_since, gte: 181}
  - stage: dormant
    name: {en: Dormant, zh-CN: 沉睡}
    rule: {attribute: last_order_at, op: days_since, gte: 61}
  - stage: new
    name: {en: New, zh-CN: 新客}
    rule: {attribute: joined_at, op: days_since, lte: 35}
  - stage: loyal
    name: {en: Loyal, zh-CN: 忠诚}
    rule: {attribute: orders_180d, op: gte, value: 5}
  - stage: active
    name: {en: Active, zh-CN: 活跃}
"""

OFFERS = """
kind: offer
key: coupon-20-100
name: {en: "¥20 off ¥100", zh-CN: 满100减20}
type: spend_x_save_y
face_value: "20.00"
minimum_spend: "100.00"
contact_cost: {sms: "0.05", push: "0"}
valid_days: 14
---
kind: offer
key: coupon-15
name: {en: "¥15 off any order", zh-CN: 15元无门槛券}
type: fixed_coupon
face_value: "15.00"
contact_cost: {push: "0"}
valid_days: 14
---
kind: offer
key: points-300
name: {en: 300 points with the next order, zh-CN: 下单送300积分}
type: gift
redemption_cost: "3.00"
contact_cost: {push: "0"}
valid_days: 14
---
kind: offer
key: percent-15
name: {en: 15% off everything, zh-CN: 全场8.5折}
type: percent_off
percent_off: "15%"
contact_cost: {sms: "0.05"}
valid_days: 14
---
kind: offer
key: points-500
name: {en: 500 points with the next order, zh-CN: 下单送500积分}
description: {en: "100 points buy ¥1, so 500 points cost ¥5.", zh-CN: 100积分抵1元，500积分成本5元。}
type: gift
redemption_cost: "5.00"
contact_cost: {sms: "0.05"}
valid_days: 14
---
kind: offer
key: free-shipping-79
name: {en: Free shipping from ¥79, zh-CN: 满79包邮}
type: free_shipping
minimum_spend: "79.00"
redemption_cost: "8.00"
contact_cost: {push: "0"}
---
kind: offer
key: early-access
name: {en: Early access to the sale, zh-CN: 提前购}
type: early_access
contact_cost: {wechat: "0"}
---
kind: offer
key: loyal-5-off
name: {en: 5% off for loyal members, zh-CN: 忠诚会员95折}
type: percent_off
percent_off: "5%"
contact_cost: {wechat: "0"}
---
kind: offer
key: points-200
name: {en: 200 welcome points, zh-CN: 新人200积分}
type: gift
redemption_cost: "2.00"
contact_cost: {mini_program: "0"}
---
kind: offer
key: weekly-picks
name: {en: This week's picks on the home page, zh-CN: 首页展示本周精选}
type: content_only
contact_cost: {app: "0"}
---
kind: offer
key: points-reminder
name: {en: Reminder of points that expire, zh-CN: 积分到期提醒}
type: content_only
contact_cost: {sms: "0.05", push: "0"}
---
kind: offer
key: cart-shipping
name: {en: "Free shipping is near", zh-CN: 即将免运费提示}
type: content_only
contact_cost: {app: "0"}
---
kind: offer
key: cart-reviews
name: {en: Reviews of these goods, zh-CN: 商品好评}
type: content_only
contact_cost: {app: "0"}
---
kind: offer
key: cart-reminder
name: {en: Reserved for you until tonight, zh-CN: 为您保留至今晚}
type: content_only
contact_cost: {app: "0"}
"""

METRICS = """
kind: metric
key: repurchase-14d
name: {en: 14-day repurchase rate, zh-CN: 14天复购率}
type: proportion
event: Order Completed
window: {days: 14}
---
kind: metric
key: profit-14d
name: {en: Profit per member in 14 days, zh-CN: 14天人均利润}
description: {en: "Order margin less offer cost less contact cost.", zh-CN: 订单毛利减去优惠成本和触达成本。}
type: profit
event: Order Completed
margin: {property: margin_minor}
window: {days: 14}
---
kind: metric
key: spend-14d
name: {en: Spend per member in 14 days, zh-CN: 14天人均消费}
type: sum
event: Order Completed
value: value
window: {days: 14}
winsorise: 0.999
---
kind: metric
key: order-value-14d
name: {en: Average order value, zh-CN: 客单价}
type: ratio
event: Order Completed
value: value
denominator: {event: Order Completed}
window: {days: 14}
---
kind: metric
key: visit-14d
name: {en: Opened the app within 14 days, zh-CN: 14天访问率}
type: proportion
event: App Visited
window: {days: 14}
covariate: {days: 28}
---
kind: metric
key: unsubscribe-14d
name: {en: Unsubscribed within 14 days, zh-CN: 14天退订率}
type: proportion
event: Unsubscribed
window: {days: 14}
direction: decrease
---
kind: metric
key: order-rate-7d
name: {en: 7-day order rate, zh-CN: 7天下单率}
type: proportion
event: Order Completed
window: {days: 7}
covariate: {days: 28}
---
kind: metric
key: profit-7d
name: {en: Profit per member in 7 days, zh-CN: 7天人均利润}
type: profit
event: Order Completed
margin: {property: margin_minor}
window: {days: 7}
covariate: {days: 28}
---
kind: metric
key: spend-7d
name: {en: Spend per member in 7 days, zh-CN: 7天人均消费}
type: sum
event: Order Completed
value: value
window: {days: 7}
winsorise: 0.995
covariate: {days: 28}
---
kind: metric
key: unsubscribe-7d
name: {en: Unsubscribed within 7 days, zh-CN: 7天退订率}
type: proportion
event: Unsubscribed
window: {days: 7}
direction: decrease
---
kind: metric
key: cart-completed
name: {en: Cart completed within a day, zh-CN: 一天内完成购物车}
type: proportion
event: Cart Completed
window: {days: 1}
"""

SEGMENTS = """
kind: segment
key: new-members
name: {en: New members, zh-CN: 新会员}
rule: {attribute: stage, op: eq, value: new}
---
kind: segment
key: quiet-cardholders
name: {en: Silver and gold members gone quiet, zh-CN: 沉睡的银卡与金卡会员}
rule:
  all:
    - {attribute: tier, op: in, value: [silver, gold]}
    - {attribute: stage, op: eq, value: dormant}
"""

HOLDOUT = """
kind: holdout
key: programme-holdout
name: {en: Always-on programme holdout, zh-CN: 全局对照组}
share: "5%"
made: {salt: "@SALT programme-holdout@"}
"""

EXPERIMENTS = """
kind: experiment
key: members-day
name:
  en: "Members' day: who needs a coupon to come?"
  zh-CN: 会员日：谁需要发券才会来？
hypothesis:
  en: A coupon for everybody pays for orders that would have come anyway; those who come seldom may need one.
  zh-CN: 全员发券会补贴本来就会下单的人；很少下单的会员才需要券。
owner: Growth
enrolment: once
audience: {attribute: stage, op: in, value: [new, active, loyal, dormant]}
breakdowns: [stage, tier]
variants:
  - {key: control, name: {en: No offer, zh-CN: 无优惠}, weight: 1}
  - {key: coupon15, name: {en: ¥15 off, zh-CN: 15元券}, weight: 1, offer: coupon-15, channel: push}
  - {key: points300, name: {en: 300 points, zh-CN: 300积分}, weight: 1, offer: points-300, channel: push}
control: control
metrics:
  primary: [profit-14d, repurchase-14d]
  secondary: [spend-14d]
  guardrails:
    - {metric: unsubscribe-14d, margin: "75%"}
schedule: {start: @MEMBERS_DAY_START@, end: @MEMBERS_DAY_END@}
planned_units: 16000
planned_days: 15
analysis: {features: [last_order_at, joined_at, orders_180d]}
made: {salt: "@SALT members-day@"}
---
kind: experiment
key: dormant-winback
name:
  en: "Dormant win-back: which offer brings members back at a profit?"
  zh-CN: 沉睡会员唤回：哪种优惠能带来利润？
hypothesis:
  en: A fixed coupon brings dormant members back and still leaves a profit; a percentage off gives too much away.
  zh-CN: 满减券能唤回沉睡会员并保留利润；折扣让利过多。
owner: Growth
enrolment: once
audience: {attribute: stage, op: eq, value: dormant}
breakdowns: [tier]
variants:
  - {key: control, name: {en: No offer, zh-CN: 无优惠}, weight: 1}
  - {key: save20, name: {en: "¥20 off ¥100", zh-CN: 满100减20}, weight: 1, offer: coupon-20-100, channel: sms}
  - {key: percent15, name: {en: 15% off, zh-CN: 8.5折}, weight: 1, offer: percent-15, channel: sms}
  - {key: points500, name: {en: 500 points, zh-CN: 500积分}, weight: 1, offer: points-500, channel: sms}
control: control
metrics:
  primary: [profit-14d, repurchase-14d]
  secondary: [spend-14d, order-value-14d]
  guardrails:
    - {metric: visit-14d, margin: "10%"}
    - {metric: unsubscribe-14d, margin: "75%"}
schedule: {start: @WINBACK_START@, end: @WINBACK_END@}
planned_units: 8000
planned_days: 28
no_effect_within: "5%"
analysis: {features: [last_order_at, joined_at, orders_180d]}
overrides: {tester-save20: save20, tester-points: points500}
made: {salt: "@SALT dormant-winback@"}
---
kind: experiment
key: free-shipping-79
name:
  en: "Active members: does free shipping from ¥79 instead of ¥99 pay?"
  zh-CN: 活跃会员：包邮门槛从99元降到79元划算吗？
hypothesis:
  en: A lower threshold brings small baskets to checkout; shipping costs may eat the margin.
  zh-CN: 降低门槛促进小额下单，但运费可能吃掉毛利。
owner: Logistics
enrolment: rolling
audience: {attribute: stage, op: in, value: [active, new]}
breakdowns: [stage, tier]
variants:
  - {key: control, name: {en: Free from ¥99, zh-CN: 满99包邮}, weight: 1}
  - {key: from79, name: {en: Free from ¥79, zh-CN: 满79包邮}, weight: 1, offer: free-shipping-79, channel: push}
control: control
metrics:
  primary: [order-rate-7d, profit-7d]
  secondary: [spend-7d]
  guardrails:
    - {metric: unsubscribe-7d, margin: "75%"}
schedule: {start: @SHIPPING_START@}
planned_units: 5200
planned_days: 28
no_effect_within: "3%"
analysis: {futility: {power: 0.8}}
made: {salt: "@SALT free-shipping-79@"}
---
kind: experiment
key: loyal-early-access
name:
  en: "Loyal members: early access or 5% off?"
  zh-CN: 忠诚会员：提前购还是95折？
hypothesis:
  en: Early access to the sale is worth as much to loyal members as a discount, and costs nothing.
  zh-CN: 对忠诚会员而言，提前购与折扣同样有吸引力，且没有成本。
owner: Loyalty
enrolment: once
audience: {attribute: stage, op: eq, value: loyal}
breakdowns: [tier]
variants:
  - {key: control, name: {en: Nothing, zh-CN: 无优惠}, weight: 1}
  - {key: early, name: {en: Early access, zh-CN: 提前购}, weight: 1, offer: early-access, channel: wechat}
  - {key: five-off, name: {en: 5% off, zh-CN: 95折}, weight: 1, offer: loyal-5-off, channel: wechat}
control: control
metrics:
  primary: [profit-7d, order-rate-7d]
  secondary: [spend-7d]
schedule: {start: @EARLY_START@}
planned_units: 3500
planned_days: 21
made: {salt: "@SALT loyal-early-access@"}
---
kind: experiment
key: welcome-points
name:
  en: "New members: welcome points on day 3, not on day 0"
  zh-CN: 新会员：第3天而不是当天送欢迎积分
hypothesis:
  en: Points that arrive on day 3 bring new members back for a second visit.
  zh-CN: 第3天到账的积分能带来第二次访问。
owner: CRM
enrolment: rolling
segment: new-members
breakdowns: [tier]
variants:
  - {key: control, name: {en: Points on day 0, zh-CN: 当天送}, weight: 1, offer: points-200, channel: mini_program}
  - {key: day3, name: {en: Points on day 3, zh-CN: 第3天送}, weight: 1, offer: points-200, channel: mini_program}
control: control
metrics:
  primary: [order-rate-7d]
  secondary: [spend-7d]
planned_units: 3000
planned_days: 28
made: {salt: "@SALT welcome-points@"}
---
kind: experiment
key: home-page-picks
name:
  en: "App home page: this week's picks instead of the category menu?"
  zh-CN: App首页：用本周精选代替分类菜单？
hypothesis:
  en: Picks give members who open the app a reason to order.
  zh-CN: 本周精选让打开App的会员更想下单。
owner: App
enrolment: rolling
audience: {attribute: stage, op: in, value: [active, loyal, new]}
breakdowns: [stage]
variants:
  - {key: control, name: {en: Category menu, zh-CN: 分类菜单}, weight: 1}
  - {key: picks, name: {en: This week's picks, zh-CN: 本周精选}, weight: 1, offer: weekly-picks, channel: app}
control: control
metrics:
  primary: [order-rate-7d]
  secondary: [spend-7d]
  guardrails:
    - {metric: unsubscribe-7d, margin: "100%"}
schedule: {start: @HOME_PAGE_START@}
planned_days: 14
analysis: {inference: always_valid}
made: {salt: "@SALT home-page-picks@"}
---
kind: experiment
key: points-reminder
name:
  en: "Points about to expire: does a reminder pay, and on which channel?"
  zh-CN: 积分即将到期：提醒划算吗？用哪个渠道？
hypothesis:
  en: A reminder brings members back before their points are gone; a push costs nothing and may be enough.
  zh-CN: 提醒让会员在积分到期前回来；推送不花钱，或许就够了。
owner: CRM
enrolment: once
audience: {attribute: stage, op: in, value: [active, loyal]}
breakdowns: [stage]
variants:
  - {key: control, name: {en: No reminder, zh-CN: 不提醒}, weight: 1}
  - {key: push, name: {en: Push, zh-CN: 推送}, weight: 1, offer: points-reminder, channel: push}
  - {key: text-message, name: {en: SMS, zh-CN: 短信}, weight: 1, offer: points-reminder, channel: sms}
control: control
metrics:
  primary: [profit-7d, order-rate-7d]
  secondary: [spend-7d]
  guardrails:
    - {metric: unsubscribe-7d, margin: "75%"}
schedule: {start: @REMINDER_START@}
planned_units: 5000
planned_days: 14
no_effect_within: "1%"
analysis: {inference: bayesian}
made: {salt: "@SALT points-reminder@"}
---
kind: experiment
key: cart-nudge
name:
  en: "Cart page: which nudge for which cart?"
  zh-CN: 购物车页：哪种购物车该用哪种提示？
hypothesis:
  en: No single nudge is best for every cart; a policy that learns finds who needs which.
  zh-CN: 没有一种提示适合所有购物车；会学习的策略能找出谁需要哪种。
owner: App
enrolment: rolling
breakdowns: [tier]
variants:
  - {key: none, name: {en: No nudge, zh-CN: 无提示}, weight: 1}
  - {key: shipping, name: {en: Free shipping is near, zh-CN: 即将免运费}, weight: 1, offer: cart-shipping, channel: app}
  - {key: reviews, name: {en: Reviews, zh-CN: 商品好评}, weight: 1, offer: cart-reviews, channel: app}
  - {key: reminder, name: {en: Reserved tonight, zh-CN: 保留至今晚}, weight: 1, offer: cart-reminder, channel: app}
control: none
metrics:
  primary: [cart-completed]
allocation:
  policy: igw
  features:
    - {attribute: tier}
    - {attribute: cart_minor, transform: log}
  pairs: [[tier, cart_minor]]
  reward: {metric: cart-completed, worth: "15"}
  explore: "0.08"
  sharpness: 4
  control: {share: "0.2"}
  gate: {approval: manual}
schedule: {start: @CART_START@}
made: {salt: "@SALT cart-nudge@"}
"""


def documents(
    *,
    members_day_us: int,
    members_day_end_us: int,
    winback_us: int,
    winback_end_us: int,
    home_page_us: int,
    reminder_us: int,
    shipping_us: int,
    early_us: int,
    cart_us: int,
) -> str:
    """Return all definitions as YAML; the arguments are starts (and ends, where there are), microseconds UTC."""
    times = {
        "MEMBERS_DAY_START": members_day_us,
        "MEMBERS_DAY_END": members_day_end_us,
        "WINBACK_START": winback_us,
        "WINBACK_END": winback_end_us,
        "HOME_PAGE_START": home_page_us,
        "REMINDER_START": reminder_us,
        "SHIPPING_START": shipping_us,
        "EARLY_START": early_us,
        "CART_START": cart_us,
    }
    experiments = re.sub("@([A-Z_]+)@", lambda place: _iso(times[place[1]]), EXPERIMENTS)
    text = f"{PROJECT}---{STAGES}---{OFFERS}---{METRICS}---{SEGMENTS}---{HOLDOUT}---{experiments}"
    return re.sub("@SALT ([a-z0-9-]+)@", _salt, text)


def _salt(place: re.Match[str]) -> str:
    """Return the fixed salt of one definition, so that every demo splits its members alike."""
    return hashlib.sha256(f"simulated shop: {place[1]}".encode()).hexdigest()[:16]


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
