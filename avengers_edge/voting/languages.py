"""The words by which questions say what answer they want, in English, German, French, Spanish, Chinese and Japanese.

They are shy: a word that also occurs in a chat needs a figure or a question mark beside it.
"""
# ruff: noqa: RUF001 - typographic signs are what people type

from __future__ import annotations

from avengers_edge.voting.patterns import wording

# --- open-ended requests

OPEN_ENDED = wording(
    # English
    r"\A\W{0,5}(?:please )?(?:can you |could you )?(?:tell me about|write|explain|describe|discuss|summari[sz]e"
    r"|compare|draft|suggest|recommend|brainstorm|list|name|give me|translate|rewrite|paraphrase|help me|teach me|plan"
    r"|imagine|outline|create|proofread|why|who|should i|how do|how does|how can|how should|how to|how long should"
    r"|how often should|how much should|what should|what are some|what is the best|what's the best|what do you)\b",
    # German
    r"\A\W{0,5}(?:bitte )?(?:kannst du |können sie |könntest du )?(?:mir )?(?:"
    r"erzähle?n?|schreibe?n?|verfasse|erkläre?n?"
    r"|beschreibe?n?|diskutiere|vergleiche|nenne?n?|gib mir|liste|übersetze?n?|fasse|empfiehl|schlage?|hilf mir|plane?"
    r"|warum|wieso|weshalb|wer|was sind|was hältst"
    r"|wie (?:kann|könnte|mache?|macht|geht|geht's|funktionier(?:t|en)|lerne|heißt|heisst)"
    r"|sollte ich|soll ich)(?!\w)",
    r"\A[^?\n]{0,60}\bsoll(?:te)? (?:ich|man)\b",
    # French
    r"\A\W{0,5}(?:s'il te plaît,? |peux-tu |pouvez-vous |pourrais-tu )?(?:m'|me )?(?:raconte[rz]?|écri(?:s|re|vez)"
    r"|rédige[rz]?|expliqu(?:e[rz]?)|décri(?:s|re|vez)|compare[rz]?|donne[rz]?-moi|cite[rz]?|liste[rz]?|résume[rz]?"
    r"|tradui(?:s|re|sez)|propose[rz]?|recommande[rz]?|aide[rz]?-moi|planifie[rz]?|pourquoi|qui|comment|devrais-je"
    r"|quel(?:le)?s sont|parle[rz]?-moi)(?!\w)",
    r"\A[^?\n]{0,60}\b(?:devrais-je|dois-je)\b",
    # Spanish
    r"\A\W{0,5}(?:por favor,? )?(?:puedes |podrías |puede )?(?:"
    r"cuénta(?:me|nos)|escrib[ea]r?|redacta|explíca(?:me|r)?|explica"
    r"|describ[ea]r?|compara|dame|enumera|menciona|resum[ea]|traduc[ei]r?|traduzca|recomi[eé]nda(?:me)?|sugi[eé]re(?:me)?"
    r"|ayúdame|planifica|háblame|por qué|quién(?:es)?|cómo|debería|cuáles son)(?!\w)",
    r"\A[^?\n]{0,60}\b(?:debería|debo) ",
    # Chinese
    r"\A\W{0,5}(?:请|請|帮我|幫我|你能|能不能|可以)*(?:给我|給我|为我)?(?:写|寫|解释|解釋|描述|介绍|介紹|总结|總結|翻译|翻譯"
    r"|比较|比較|推荐|推薦|列出|列举|告诉我|告訴我|谈谈|說說|说说|讲|为什么|為什麼|谁|誰|怎么|怎麼|如何|我该|我应该)",
    # Japanese: the verb stands at the end
    r"(?:について(?:教えて|話して|説明)|(?:物語|詩|手紙|メール|文章|記事|作文|感想)を[^。\n]{0,8}(?:書|作)|説明して|要約して|翻訳して"
    r"|訳して|おすすめ|紹介して|比べて|比較して|なぜ|どうして|どうやって|どうすれば|誰|べきですか|べきでしょうか)",
)

# --- code

_PROGRAM = (
    r"(?:functions?|programs?|scripts?|class|method|decorator|regex|regular expression|(?:sql )?query|unit tests?|code|"
    r"one-liner|generator|lambda|algorithm)\b(?! (?:of conduct|reunion|schedule|dinner|review|party))(?! \$)"
)
_THING_DE = (
    r"(?:[\w+#]{1,20}-)?(?:funktion|programm(?! für| zur| zum| der| des)|skript|klasse|methode|abfrage|algorithmus"
    r"|code(?! der| des| von))"
)
_THING_FR = (
    r"(?:fonction|script|classe|méthode|requête(?: sql)|algorithme|code(?! de)|expression régulière"
    r"|programme (?:en |qui |python|java|informatique|c\+\+))"
)
_THING_ES = (
    r"(?:función|script|clase(?! de)|método|consulta(?: sql)|algoritmo|código(?! de)|expresión regular"
    r"|programa (?:en |que |python|java|informático|c\+\+))"
)
_LANGUAGE = r"(?:python|java|javascript|typescript|c\+\+|c#|rust|go|ruby|sql|bash)"
CODE = wording(
    r"\b(?:write|create|implement|complete|generate|code|give me|show me|develop|fix|debug|refactor|finish)\b"
    rf"(?:\s+(?!about\b|of\b|for\b|on\b)[\w+#'-]{{1,20}}){{0,5}}\s+{_PROGRAM}",
    rf"\b(?:implement|write|create|give me)\b[^.?!\n]{{0,60}}\bin {_LANGUAGE}(?!\w)",
    r"^\s{0,12}(?:async )?def \w+\(.{0,200}\)[^\n]{0,60}:",
    r"^\s{0,12}assert \w+\(",
    r"\b(?:schreiben?|schreib|implementieren?|implementier|programmieren?|programmier|erstellen?|erstell|entwickeln?|entwickle"
    r"|generiere|vervollständige|korrigiere|debugge|refaktoriere|gib mir|zeig mir)\b"
    rf"(?:\s+(?!über\b|von\b|zu\b|zur\b|für\b|auf\b)[\w+#'-]{{1,25}}){{0,5}}\s+{_THING_DE}\b",
    r"\b(?:écri(?:s|re|vez)|rédige[rz]?|implémente[rz]?|cré(?:e[rz]?)|programme[rz]|complète[rz]?|compléter|corrige[rz]?"
    r"|génère|développe[rz]?|code[rz]?|donne[rz]?-moi)\b"
    rf"(?:\s+(?!sur\b|de\b|pour\b|à\b)[\w+#'’-]{{1,20}}){{0,5}}\s+{_THING_FR}",
    r"\b(?:escrib(?:e|a|ir)|implement[ae]r?|crea(?:r)?|programa|completa|corrige|genera|desarrolla|dame)\b"
    rf"(?:\s+(?!sobre\b|de\b|para\b|a\b)[\w+#'-]{{1,20}}){{0,5}}\s+{_THING_ES}",
    rf"\b(?:implementiere|programmiere|schreibe?|implémente[rz]?|écri(?:s|vez)|implementa|escribe)\b[^.?!\n]{{0,60}}"
    rf"\b(?:in|en) {_LANGUAGE}(?!\w)",
    r"(?:编写|編寫|[写寫](?=[^代程])|实现|實現|创建|生成|完成|补全|修复|修改|调试|定义)(?:(?!关于|關於|[。？！?\n]).){0,30}?"
    r"(?:函数|函數|程序(?!员)|程式(?!員)|代码|代碼|脚本|正则表达式|算法(?!的)|SQL|类(?=[，,。来]|$))",
    rf"用\s?{_LANGUAGE}\s?(?:语言)?(?:编写|写|实现|實現|編寫|寫)",
    r"(?:関数|プログラム(?!の歴史)|コード|スクリプト|クラス|メソッド|アルゴリズム|正規表現|クエリ)(?:を|の実装を)[^。？\n]{0,12}?"
    r"(?:書いて|書け|書きなさい|書いてください|作って|作成し|作れ|作りなさい|実装し|実装せよ|完成させ|修正し|直して|デバッグ|定義し|定義せよ)",
    rf"{_LANGUAGE}\s?で[^。？\n]{{0,30}}(?:実装|書いて|書け|プログラム)",
)
MEND = wording(
    r"\b(?:fix|debug|complete|refactor|rewrite|optimi[sz]e|finish|correct|port|translate|add)\b",
    r"\b(?:korrigiere?n?|behebe?n?|verbessere?|vervollständige?|optimiere?|repariere?|refaktoriere|debugge)\b",
    r"\b(?:corrige[rz]?|répare[rz]?|complète[rz]?|optimise[rz]?|débogue[rz]?|réécri(?:s|vez))\b",
    r"\b(?:corrig[ea]|arregla|repara|completa|optimiza|depura|reescrib[ea])\b",
    r"修复|修復|修改|改正|纠正|优化|補全|补全|完成|调试|重写",
    r"修正し|直して|完成させ|最適化し|デバッグし|書き直し",
)

# --- formulas

STRONGLY_SYMBOLIC = wording(
    r"^\W{0,5}(?:please )?(?:simplify|expand|factor(?:i[sz]e)?|differentiate|integrate)\b.{0,80}(?:\d|\b[a-z]\b)",
    r"\b(?:derivative|antiderivative|integral) of\b.{0,60}(?:\d|\(|\b[x-z]\b|\b(?:sin|cos|tan|log|ln|exp)\b)",
    r"\bsolve for [a-z]\b",
    r"\bin terms of \$?[a-z]\b",
)
SYMBOLIC = wording(
    r"\b(?:simplify|solve|expand|factor(?:i[sz]e)?|express|derivative|differentiate|integral|integrate|antiderivative)\b",
    r"\b(?:in (?:interval|simplest|terms of|lowest)|closed form|equation of|roots?|polynomial|matrix|determinant)\b",
    r"\b(?:domain|range|inverse|evaluate|find|compute|determine|calculate|what is|what are)\b",
    r"\b(?:vereinfachen?|vereinfache|faktorisieren?|lösen?|löse|ableitung|leite|integral|integriere|bestimmen?|berechnen?"
    r"|finde|nullstellen|was ist)\b",
    r"\b(?:simplifi(?:e[rz]?)|factorise[rz]?|résou(?:s|dre|dez)|développe[rz]?|dérivée?|dérive[rz]?|intégrale|primitive"
    r"|calcule[rz]?|trouve[rz]?|détermine[rz]?|racines|que vaut)\b",
    r"\b(?:simplifi(?:ca|car|que)|factori(?:za|zar|ce)|resuelv[ea]|resolver|deriva(?:da|r)?|integral|integra|calcula|calcule"
    r"|encuentra|halla|determina|raíces|cuál es|cuánto es)\b",
    r"化简|化簡|因式分解|解方程|求导|求導|导数|積分|积分|展开|展開|求解|求[^。\n]{0,12}的(?:根|解|值|导数)|计算|計算",
    r"簡単にせよ|簡単にし|因数分解|展開せよ|展開し|微分せよ|微分し|導関数|方程式|解け|解いて|解きなさい|求めよ|求めなさい|求めて",
)
_INTEGER = (
    r"\bfind (?:the value of )?\$?m\s?\+\s?n\b",
    r"\bremainder when\b",
    r"\bnumber of (?:integers|ways|ordered|solutions|positive)\b",
    r"\bhow many\b",
)
INTEGER_IN_ENGLISH = wording(*_INTEGER)
WANTS_INTEGER = wording(
    *_INTEGER, r"\bwie viele\b", r"\bcombien d(?:e\b|['’])", r"\bcuánt[oa]s\b", r"多少个|几个|いくつ|何個|何通り"
)

# --- numbers

HOW_MANY = wording(
    r"\bhow many\b(?! (?:do|does|did|of) (?:you|i|we|they) (?:know|like|love|think))",
    r"\bwie ?viele\b(?! [^?\n]{0,30}\b(?:magst|kennst|glaubst|denkst|solltest|sollte ich)\b)",
    r"\bcombien d(?:e (?!temps\b)|['’])(?![^?\n]{0,30}\b(?:connais-tu|penses-tu|devrais-je)\b)",
    r"\bcuánt[oa]s\b(?![^?\n]{0,30}\b(?:conoces|crees|piensas|debería)\b)",
    r"(?:多少|(?<![这那好前上])[几幾])(?:个|個|只|隻|条|條|颗|顆|人|名|本|张|張|块|塊|天|次|元|公里|米|小时|小時|分钟|分鐘|岁|歲|种|種|支|头|辆|位|棵|件)"
    r"(?=[^。！\n]{0,40}[?？])",
    r"(?:いくつ|何(?:個|人|本|枚|匹|冊|台|回|杯|通り|時間|分|日|円|歳|メートル|キロ|グラム|リットル|倍))(?!か(?!\s*[?？。\n]|$))",
)
_QUANTITY = (
    r"(?:averages?|mean|median|mode|sum|total|difference|product|quotient|remainder|speed|velocity|probability|area|"
    r"perimeter|volume|circumference|radius|diameter|distance|height|width|length|weight|mass|cost|price|profit|loss|"
    r"discount|interest|percentage|percent|ratio|fraction|square root|cube root|factorial|value|number|age|salary|"
    r"amount|balance|return|population|rate|change|increase|decrease|temperature|gcd|lcm|greatest common divisor|"
    r"least common multiple|(?:smallest|largest|greatest) \w+)"
)
ASKS_QUANTITY = wording(
    r"\bhow (?:much|long|far|fast|old|tall|high|heavy|wide|deep|big|often|late|hot|cold)\b",
    r"\bwhat(?:'s| is| was| are| were| will be| would be)?\s(?:the |his |her |their |its |my )?"
    rf"(?:[\w'-]{{1,20}} ){{0,4}}?{_QUANTITY}\b",
    rf"\b(?:calculate|compute|find|determine|work out|evaluate|estimate)\b[^?\n]{{0,80}}?\b{_QUANTITY}\b",
    r"\bhow much (?:does|do|did)\b[^?\n]{1,60}\b(?:cost|weigh)\b",
)
FIGURE = wording(
    r"\d",
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|thousand)\b",
    r"\b(?:half|twice|double|triple|dozens?)\b",
)
MEASURE = wording(
    r"\bwie ?viel\b|\bwie (?:hoch|groß|gross|alt|lange?|weit|schnell|schwer|teuer|breit|tief|spät|warm|kalt)\b"
    r"|\bwas (?:kostet|kosten|ergibt|beträgt|wiegt)\b",
    r"\bcombien\b|\bquel âge\b|\bà quelle (?:vitesse|distance|heure)\b",
    r"\bcuánt[oa]s?\b|\bqué (?:edad|distancia|velocidad|altura|longitud)\b|\ba qué (?:velocidad|distancia|hora)\b",
    r"多少|(?<![这那好前上])几(?:个|岁|天)|多(?:大|高|长|長|远|遠|重|久|快|宽|深)(?![的家人众])|是几|等于几",
    r"いくら|いくつ|何(?:個|人|本|枚|時間|分|秒|日|円|歳|メートル|キロ|km|cm|グラム|リットル|倍|パーセント|%)"
    r"|どれ(?:だけ|くらい|ぐらい)|は(?:いくつ|いくら|何)ですか",
)
"""Asks for a quantity, where the question has figures."""
_QUANTITY_DE = (
    r"(?:summe|differenz|produkt|quotient|rest|durchschnitt\w{0,20}|mittelwert|geschwindigkeit|wahrscheinlichkeit|fläche\w{0,10}"
    r"|umfang|volumen|radius|durchmesser|entfernung|abstand|höhe|breite|länge|gewicht|masse|preis|kosten|gewinn|verlust|rabatt"
    r"|zins\w{0,8}|prozent\w{0,8}|anteil|quadratwurzel|fakultät|wert|anzahl|alter|gehalt|betrag|ggt|kgv|ergebnis)\b"
)
_QUANTITY_FR = (
    r"(?:somme|différence|produit|quotient|reste|moyenne|vitesse|probabilité|aire|périmètre|volume|circonférence|rayon|diamètre"
    r"|distance|hauteur|largeur|longueur|poids|masse|coût|prix|bénéfice|perte|remise|intérêt|pourcentage"
    r"|racine carrée|factorielle"
    r"|valeur|nombre (?:de\b|total)|âge|salaire|montant|pgcd|ppcm|total|résultat)\b"
)
_QUANTITY_ES = (
    r"(?:suma|diferencia|producto|cociente|resto|residuo|promedio|media|velocidad|probabilidad|área|perímetro|volumen|radio"
    r"|diámetro|distancia|altura|ancho|longitud|peso|masa|costo|coste|precio|ganancia|pérdida|descuento|interés|porcentaje"
    r"|raíz cuadrada|factorial|valor|número de|edad|salario|cantidad|mcd|mcm|total|resultado)\b"
)
_QUANTITY_ZH = (
    r"(?:和|差|积|積|商|余数|餘數|平均|速度|概率|面积|面積|周长|周長|体积|體積|半径|距离|高度|长度|重量|价格|成本|利润|百分|平方根"
    r"|阶乘|值|总数|最大公约数|最小公倍数)"
)
_QUANTITY_JA = (
    r"(?:和|差|積|商|余り|合計|平均|速度|確率|面積|周囲|体積|半径|距離|高さ|長さ|重さ|値段|利益|割合|値"
    r"|最大公約数|最小公倍数|平方根)"
)
_WORDS = r"(?:[\w'’-]{1,20} ){0,3}?"
QUANTITY = wording(
    rf"\b(?:was|wie groß|wie hoch|wie lautet|welche[rsn]?) (?:(?:ist|war|wäre|sind) )?{_WORDS}{_QUANTITY_DE}",
    rf"\b(?:berechnen?|bestimmen?|ermitteln?|errechne)\b[^?\n]{{0,60}}?\b\w{{0,20}}{_QUANTITY_DE}",
    rf"\bquel(?:le)?s? (?:est|sont|était|sera|serait) (?:l['’])?{_WORDS}{_QUANTITY_FR}",
    rf"\b(?:calcule[rz]?|détermine[rz]?|que vaut)\b[^?\n]{{0,60}}?\b{_QUANTITY_FR}",
    rf"\bcuál(?:es)? (?:es|son|fue|era|será|sería) {_WORDS}{_QUANTITY_ES}",
    rf"\b(?:calcul[ae]r?|determin[ae]|halla)\b[^?\n]{{0,60}}?\b{_QUANTITY_ES}",
    rf"(?:计算|計算|求(?!职|婚|助|知|学))[^。？?\n]{{0,40}}?{_QUANTITY_ZH}|{_QUANTITY_ZH}是(?:什么|多少|几)",
    rf"{_QUANTITY_JA}[^。？?\n]{{0,8}}(?:計算(?:し|せよ)|求め(?:よ|なさい|て))",
)
"""Asks for a thing that is a number, where the question has figures."""
MATTER_OF_TASTE = wording(
    r"\b(?:best\w{0,3}|ideal\w{0,2}|optimale?\w?|meilleure?s?|idéale?|mejor(?:es)?|gute[rnsm]?)\b|最好|最佳|一番"
)
"""Makes a question for a quantity one for an opinion."""

ARITHMETIC = wording(
    r"\b(?:calculate|compute|evaluate|what(?:'s| is)|how much is|solve)\s[^a-z\n]{0,6}[-+]?\(?\d[\d,.]{0,20}\s?"
    r"(?:[-+*/×÷^%]|plus|minus|times|divided by|mod|% of|percent of)",
    r"\bconvert \$?[\d.,]{1,20} ?[\w°$/]{1,20} (?:in)?to\b",
    r"(?:\b(?:berechnen?|was ist|was ergibt|was sind|wie ?viel (?:ist|sind|ergibt)|rechne|combien (?:font|fait)"
    r"|calcule[rz]?|que vaut"
    r"|quel est|cuánto (?:es|son|da|suma)|calcul[ae]|qué es)\s|(?:计算|計算|算一下|求)\s{0,2})"
    r"[^a-z\n]{0,6}?[-+]?\(?\d[\d,.]{0,20}\s?"
    r"(?:[-+*/×÷^%]|plus|minus|mal|geteilt durch|prozent von|moins|fois|divisé par|más|menos"
    r"|por\b|entre\b|dividido|乘以|加上?|减去?|除以)",
    r"\d\s?(?:[-+*/×÷]|乘以?|加上?|减去?|除以|足す|引く|かける|割る)\s?\d[\d.]{0,20}\s?(?:\)\s?)?(?:[=＝]|等于|等於|是多少|是几|は(?:いくつ|何|\?|？))",
)

# --- labels

YES_NO = (
    (wording(r"\byes or no\b", r"\byes/no\b", r"\(y/n\)"), ("yes", "no")),
    (
        wording(
            r"\btrue or false\b",
            r"(?:^|[.?!:]\s)is it (?:true|false)\b",
            r"(?:^|[.?!:]\s)(?:is|are) (?:this|these|the following) (?:statements? )?(?:true|false)\b",
        ),
        ("true", "false"),
    ),
    (wording(r"\bja oder nein\b"), ("ja", "nein")),
    (wording(r"\boui ou non\b"), ("oui", "non")),
    (wording(r"\bsí o no\b"), ("sí", "no")),
    (wording(r"\bwahr oder falsch\b"), ("wahr", "falsch")),
    (wording(r"\brichtig oder falsch\b"), ("richtig", "falsch")),
    (wording(r"\bvrai ou faux\b"), ("vrai", "faux")),
    (wording(r"\bverdadero o falso\b"), ("verdadero", "falso")),
    (wording(r"是或否|是还是否|是還是否"), ("是", "否")),
    (wording(r"はいか(?:、)?いいえ|「はい」か「いいえ」"), ("はい", "いいえ")),
)
"""How each language asks for one of two words, and the words."""
