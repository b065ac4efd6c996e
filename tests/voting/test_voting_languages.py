"""Questions and answers in other languages are told apart and read like English ones; chats stay chats."""
# ruff: noqa: RUF001 - typographic signs are what people type

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import KINDS, Kind
from avengers_edge.voting.keys import answer_key, extract_answer
from avengers_edge.voting.kinds import find_choices, infer_kind

QUESTIONS: list[tuple[Kind, str]] = [
    ("number", "Ein Zug fährt 60 km in 45 Minuten. Wie hoch ist seine Durchschnittsgeschwindigkeit in km/h?"),
    ("number", "Wie viele Planeten gibt es im Sonnensystem?"),
    ("number", "Tom hat 3 Äpfel und kauft doppelt so viele. Wie viele hat er jetzt?"),
    ("number", "Was ist 17 * 23?"),
    ("number", "Was ergibt 12 plus 30?"),
    ("number", "Wie viel ist 15 % von 80?"),
    ("number", "Berechne die Summe der ersten 10 Zahlen."),
    ("number", "Wie viel kostet Anna der Einkauf von 3 Büchern zu je 4 Euro?"),
    ("number", "Was ist die Quadratwurzel von 144?"),
    ("number", "Wie alt ist Ben, wenn er doppelt so alt ist wie Al, der 7 ist?"),
    ("number", "Wie lange dauert es, 40 Liter mit 8 Litern pro Minute einzufüllen?"),
    ("number", "Un train parcourt 60 km en 45 minutes. Quelle est sa vitesse moyenne en km/h ?"),
    ("number", "Combien de planètes y a-t-il dans le système solaire ?"),
    ("number", "Combien d'œufs reste-t-il ?"),
    ("number", "Combien font 17 fois 23 ?"),
    ("number", "Calcule 3 + 4."),
    ("number", "Combien coûtent 3 livres à 4 euros chacun ?"),
    ("number", "Quelle est la racine carrée de 144 ?"),
    ("number", "Quel âge a Ben s'il a deux fois l'âge d'Al, qui a 7 ans ?"),
    ("number", "Un tren recorre 60 km en 45 minutos. ¿Cuál es su velocidad media en km/h?"),
    ("number", "¿Cuántos planetas hay en el sistema solar?"),
    ("number", "¿Cuánto es 17 por 23?"),
    ("number", "Calcula la suma de 3 y 4."),
    ("number", "¿Cuánto cuestan 3 libros a 4 euros cada uno?"),
    ("number", "¿Cuántas manzanas le quedan?"),
    ("number", "一列火车45分钟行驶60公里。它的平均速度是多少公里每小时?"),
    ("number", "太阳系有多少颗行星?"),
    ("number", "小明有3个苹果,又买了2个,现在一共有几个苹果?"),
    ("number", "12加30等于多少?"),
    ("number", "计算 3 + 4。"),
    ("number", "3 × 4 等于多少?"),
    ("number", "半径为3的圆的面积是多少?"),
    ("number", "１２＋３０＝？"),
    ("number", "列車が45分で60km走ります。平均速度は時速何キロですか?"),
    ("number", "太陽系には惑星がいくつありますか?"),
    ("number", "りんごが3個あります。2個買うと全部で何個ですか?"),
    ("number", "12足す30はいくつですか?"),
    ("number", "1冊4ドルの本を3冊買うといくらですか?"),
    ("number", "半径3の円の面積を求めよ。"),
    ("choice", "Welches ist eine Frucht?\nA) Stein\nB) Apfel\nC) Auto"),
    ("choice", "Lequel est un fruit ?\nA. pierre\nB. pomme"),
    ("choice", "¿Cuál es una fruta? A) piedra B) manzana C) coche"),
    ("choice", "下列哪个是水果?\nA. 石头\nB. 苹果\nC. 汽车"),
    ("choice", "下列哪个是水果?\nA、石头\nB、苹果"),
    ("choice", "下列哪个是水果？\nＡ．石头\nＢ．苹果"),
    ("choice", "果物はどれですか?\n(A) 石\n(B) りんご"),
    ("choice", "果物はどれですか？（Ａ）石（Ｂ）りんご（Ｃ）車"),
    ("choice", "下列哪个是水果?A.石头 B.苹果 C.汽车"),
    ("choice", "下列哪个是水果?\nA：石头\nB：苹果"),
    ("code", "Schreibe eine Python-Funktion, die eine Zeichenkette umdreht."),
    ("code", "Schreiben Sie ein Programm, das die ersten 10 Primzahlen ausgibt."),
    ("code", "Implementiere Quicksort in Rust"),
    ("code", "Korrigiere diesen Code:\n```python\nprint 1\n```"),
    ("code", "Schreib mir ein Skript, das Dateien umbenennt"),
    ("code", "Écris une fonction Python qui inverse une chaîne."),
    ("code", "Écrivez un programme qui affiche les 10 premiers nombres premiers."),
    ("code", "Implémente le tri rapide en Rust"),
    ("code", "Corrige ce code :\n```python\nprint 1\n```"),
    ("code", "Escribe una función en Python que invierta una cadena."),
    ("code", "Escribe un programa que imprima los 10 primeros primos."),
    ("code", "Corrige este código:\n```python\nprint 1\n```"),
    ("code", "编写一个反转字符串的Python函数。"),
    ("code", "用Python写一个程序,输出前10个素数。"),
    ("code", "修复这段代码:\n```python\nprint 1\n```"),
    ("code", "写一个函数计算两个数的和"),
    ("code", "请用Java实现快速排序"),
    ("code", "文字列を逆順にするPythonの関数を書いてください。"),
    ("code", "最初の10個の素数を出力するプログラムを作成してください。"),
    ("code", "このコードを修正してください:\n```python\nprint 1\n```"),
    ("code", "関数を書いて"),
    ("expression", "Vereinfache (x^2 - 1)/(x - 1)."),
    ("expression", "Résous 2x + 3 = 11."),
    ("expression", "Factoriza x^2 - 5x + 6"),
    ("expression", "化简 (x^2-1)/(x-1)"),
    ("expression", "x^2 - 5x + 6 を因数分解せよ。"),
    ("label", "Ist 7 eine Primzahl? Antworte mit ja oder nein."),
    ("label", "7 est-il premier ? Réponds par oui ou non."),
    ("label", "¿Es 7 primo? Responde sí o no."),
    ("label", "Vrai ou faux : les baleines sont des poissons."),
    ("text", "Erzähl mir etwas über den 2. Weltkrieg"),
    ("text", "Schreibe ein Gedicht über 7 Schwäne"),
    ("text", "Wer schrieb Hamlet?"),
    ("text", "Was ist die Hauptstadt von Frankreich?"),
    ("text", "Erkläre, wie eine Dampfmaschine funktioniert."),
    ("text", "Gib mir 5 Tipps für besseren Schlaf."),
    ("text", "Hallo, wie geht es dir?"),
    ("text", "Warum kam es zum Crash von 1929?"),
    ("text", "Was geschah 1989?"),
    ("text", "Was soll ich für 4 Personen kochen?"),
    ("text", "Übersetze 'Ich habe 2 Hunde' ins Englische."),
    ("text", "Wie oft sollte ich 2 Pflanzen gießen?"),
    ("text", "Beschreibe die Funktion des Herzens."),
    ("text", "Schreibe einen Text über die Funktion des Herzens"),
    ("text", "Was ist der Unterschied zwischen TCP und UDP?"),
    ("text", "Was ist der Sinn des Lebens?"),
    ("text", "Soll ich 2 Monitore kaufen?"),
    ("text", "Wie viele Stunden sollte ich schlafen?"),
    ("text", "Plane eine Reise nach Rom für 3 Tage."),
    ("text", "Was ist seit 2020 neu in Berlin?"),
    ("text", "Parle-moi de la 2e guerre mondiale"),
    ("text", "Écris un poème sur 7 cygnes"),
    ("text", "Qui a écrit Hamlet ?"),
    ("text", "Quelle est la capitale de la France ?"),
    ("text", "Explique comment fonctionne une machine à vapeur."),
    ("text", "Donne-moi 5 conseils pour mieux dormir."),
    ("text", "Bonjour, comment vas-tu ?"),
    ("text", "Que s'est-il passé en 1989 ?"),
    ("text", "Quelle est la différence entre TCP et UDP ?"),
    ("text", "Écris un programme d'entraînement de 3 semaines"),
    ("text", "Combien de temps devrais-je cuire 4 œufs ?"),
    ("text", "Quel est le sens de la vie ?"),
    ("text", "Traduis « I have 2 dogs » en français."),
    ("text", "Háblame de la 2ª guerra mundial"),
    ("text", "Escribe un poema sobre 7 cisnes"),
    ("text", "¿Quién escribió Hamlet?"),
    ("text", "¿Cuál es la capital de Francia?"),
    ("text", "Dame 5 consejos para dormir mejor."),
    ("text", "Hola, ¿cómo estás?"),
    ("text", "¿Qué pasó en 1989?"),
    ("text", "Crea un programa de entrenamiento de 3 semanas"),
    ("text", "¿Cuál es la diferencia entre TCP y UDP?"),
    ("text", "¿Cuál es el sentido de la vida?"),
    ("text", "¿Qué debería cocinar para 4 personas?"),
    ("text", "告诉我第二次世界大战的情况"),
    ("text", "写一首关于7只天鹅的诗"),
    ("text", "谁写了《哈姆雷特》?"),
    ("text", "法国的首都是什么?"),
    ("text", "解释蒸汽机是怎么工作的。"),
    ("text", "给我5个睡眠建议。"),
    ("text", "你好,你好吗?"),
    ("text", "1989年发生了什么?"),
    ("text", "写一篇关于程序员的文章"),
    ("text", "人生的意义是什么?"),
    ("text", "推荐几个好看的电影"),
    ("text", "介绍几个北京的景点?"),
    ("text", "第2次世界大戦について教えて"),
    ("text", "7羽の白鳥の詩を書いて"),
    ("text", "ハムレットを書いたのは誰ですか?"),
    ("text", "フランスの首都はどこですか?"),
    ("text", "蒸気機関の仕組みを説明してください。"),
    ("text", "よく眠るためのコツを5つ教えてください。"),
    ("text", "こんにちは、お元気ですか?"),
    ("text", "1989年に何が起きましたか?"),
    ("text", "人生の意味は何ですか?"),
    ("text", "4人分の夕食は何を作るべきですか?"),
    ("text", "おすすめの本をいくつか教えて"),
    ("text", "Combien je t'aime !"),
    ("text", "Cuánto te quiero"),
    ("text", "Wie viel Uhr ist es?"),
]
CHATS = """
Ich habe 3 Kinder und brauche Ideen für einen Geburtstag.
Was ist dein Lieblingsbuch?
Was ist der Wert von Freundschaft?
Kannst du mir 3 Bücher empfehlen?
Mein Hund ist 7 Jahre alt und frisst nicht. Was ist los?
Wie war das Wetter 2020 in Berlin?
Welche 5 Länder sollte man besuchen?
Welches Alter ist am besten für ein Handy, 10 oder 12?
Ich bin 35 Jahre alt, welche Versicherung brauche ich?
Was ist bei einem Gewicht von 80 kg die beste Diät?
Wie finde ich einen Job mit 50?
Was hältst du von der Zahl 13?
Wie lerne ich 100 Vokabeln am Tag?
Ich suche ein Programm für den Abend.
Zeig mir den Code der Straßenverkehrsordnung
Programm der Woche 12
Was sind 3 gute Filme?
J'ai 3 enfants, que faire ce week-end ?
Quel est ton livre préféré ?
Quel est le meilleur prix pour un vélo de 2020 ?
Mon chien a 7 ans et ne mange plus. Que faire ?
Quelle est la valeur de l'amitié ?
Peux-tu m'expliquer la loi de 1905 ?
Quels sont les 5 plus beaux pays ?
Combien de temps faut-il pour apprendre le piano ?
Quel est le nombre d'or et pourquoi 13 porte malheur ?
Donne-moi un programme de révision pour 2 semaines
Corrige cette phrase : j'ai 2 chien.
Complète cette histoire : il était une fois 3 ours.
Tengo 3 hijos, ¿qué hago este fin de semana?
¿Cuál es tu libro favorito?
¿Cuál es el valor de la amistad?
Mi perro tiene 7 años y no come. ¿Qué hago?
¿Cuáles son los 5 mejores países?
Corrige esta frase: tengo 2 perro.
Completa la historia de los 3 osos.
¿Cuánto tiempo se tarda en aprender piano?
Programa de la semana 12
我有3个孩子,周末去哪里玩好?
你最喜欢的书是什么?
友谊的价值是什么?
我的狗7岁了,不吃东西,怎么办?
帮我写一封2024年的求职信
请修改这句话:我有2狗。
完成这个故事:从前有3只熊。
我身高180,体重80,应该怎么减肥?
学钢琴要多久?
有多少人喜欢下雨天呢
我有几个问题想请教
这几天天气怎么样?
多大的房子适合4个人住?
写一个关于算法的故事
写代码难吗?
子供が3人います。週末はどこへ行けばいいですか?
一番好きな本は何ですか?
友情の価値は何ですか?
犬が7歳で何も食べません。どうすればいいですか?
この文を直してください:犬が2匹います。
3匹の熊の物語を完成させてください。
いくつか質問があります。
2024年の予定を考えてください。
コードを学ぶのは難しいですか?
何人かの友達と旅行に行きます。
何時に寝るのがいいですか? 7時?
プログラムの予定を作ってください
Was kostet die Welt?
Welche Größe passt zu 180 cm?
Bestimme das beste Handy unter 300 Euro.
Finde ein Restaurant für 4 Personen.
Trouve un restaurant pour 4 personnes.
Calcule mon horoscope pour 2024.
Encuentra un hotel para 2 personas a buen precio.
Trouve un hôtel à bon prix pour 2 personnes.
Finde ein Hotel für 2 Personen zu einem guten Preis.
""".strip().split("\n")


def test_the_kind_is_what_a_person_would_expect_in_every_language() -> None:
    for kind, question in QUESTIONS:
        assert infer_kind(question) == kind


def test_a_chat_with_figures_in_it_is_free_text() -> None:
    for chat in CHATS:
        assert infer_kind(chat) == "text"


OFFERED = [
    ("下列哪个是水果?\nA、石头\nB、苹果", ("石头", "苹果")),
    ("下列哪个是水果？\nＡ．石头\nＢ．苹果", ("石头", "苹果")),
    ("果物はどれですか？（Ａ）石（Ｂ）りんご（Ｃ）車", ("石", "りんご", "車")),
    ("下列哪个是水果？A.石头 B.苹果 C.汽车", ("石头", "苹果", "汽车")),
    ("¿Cuál es una fruta? A) piedra B) manzana", ("piedra", "manzana")),
    ("Ist 7 prim? Antworte mit ja oder nein.", ("ja", "nein")),
    ("7 est-il premier ? Oui ou non ?", ("oui", "non")),
    ("¿Es 7 primo? Responde sí o no.", ("sí", "no")),
    ("7は素数ですか？「はい」か「いいえ」で答えてください。", ("はい", "いいえ")),
]


@pytest.mark.parametrize(("question", "choices"), OFFERED)
def test_the_offered_answers_are_read_as_they_are_spelled(question: str, choices: tuple[str, ...]) -> None:
    assert find_choices(question) == choices


LEADS = (
    *(
        "Antwort: {}",
        "**Antwort:** {}",
        "Die Antwort ist {}.",
        "Die Antwort lautet: {}",
        "Die richtige Antwort ist {}.",
    ),
    *("Réponse : {}", "Réponse finale : {}", "La réponse est {}.", "La bonne réponse est {}.", "Respuesta: {}"),
    *("La respuesta es {}.", "La respuesta correcta es {}.", "Respuesta final: {}", "Risposta: {}", "Resposta: {}"),
    *(
        "答案：{}",
        "答案:{}",
        "答案是{}。",
        "答案为{}",
        "答：{}",
        "正确答案是{}",
        "最终答案：{}",
        "答え：{}",
        "答えは{}です。",
        "正解は{}です",
        "回答：{}",
    ),
    *("정답: {}", "## Antwort\n\n{}", "**Réponse**\n\n{}", "## 答案\n\n{}"),
)
FULL_WIDTH = str.maketrans("0123456789ABCD-", "０１２３４５６７８９ＡＢＣＤ－")


@given(st.integers(-(10**6), 10**6), st.sampled_from(LEADS), st.booleans())
def test_announced_numbers_are_read_in_every_language(value: int, lead: str, wide: bool) -> None:
    said = str(value).translate(FULL_WIDTH) if wide else str(value)
    text = f"60 / 0.75 = 80\n{lead.format(said)}\n"
    assert answer_key(text, "number") == str(value)
    assert answer_key(text, "number", truncated=True) == str(value)


@given(st.sampled_from("ABCD"), st.sampled_from(LEADS), st.booleans())
def test_announced_letters_are_read_in_every_language(letter: str, lead: str, wide: bool) -> None:
    said = letter.translate(FULL_WIDTH) if wide else letter
    assert answer_key(f"(C) x\n{lead.format(said)}\n", "choice") == letter


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Antwort: 1.234,56 Euro", "1234.56"),
        ("La réponse est 1 234,5 km", "1234.5"),
        ("Die Antwort lautet 5 Millionen", "5000000"),
        ("Respuesta: 3 millones", "3000000"),
        ("答案是５万", "50000"),
        ("答案：2亿人", "200000000"),
        ("所以一共有１２个苹果。", "12"),
        ("だから合計は８０円です。", "80"),
        ("答案是负5", "-5"),
        ("Die Antwort ist minus 5", "-5"),
        ("La réponse est moins 5", "-5"),
        ("La respuesta es menos 5", "-5"),
        ("答えは5です。10より小さいです。", "5"),
        ("١٢", None),
    ],
)
def test_numbers_in_other_languages(text: str, key: str | None) -> None:
    assert answer_key(text, "number") == key


def test_code_in_an_answer_in_another_language_is_code() -> None:
    text = "这是函数：\n\n1. 定义：\n   ```python\n   def f(x):\n       return x\n   ```\n完成。"
    assert extract_answer(text, "code") == "def f(x):\n    return x"


@given(
    st.text(
        st.sampled_from("AB、．）（Ａ多少个几写函数いくつ関数を書いてWieviele oudécombien cuántos?？。\n0１"),
        max_size=120,
    )
)
def test_every_question_has_a_kind(question: str) -> None:
    kind = infer_kind(question)
    assert kind in KINDS
    assert (find_choices(question) is not None) >= (kind in ("choice", "label"))


def test_a_megabyte_of_malice_is_read_in_one_pass() -> None:
    """Ends at all: only the tail of a question is looked at."""
    for piece in [
        *(
            "A、",
            "（Ａ）",
            "写",
            "写一个",
            "关数を",
            "wie viele ",
            "schreibe ein ",
            "écris un ",
            "escribe un ",
            "combien de ",
            "多少",
            "几个",
        ),
        *(
            "was ist ",
            "quel est ",
            "berechne ",
            "计算",
            "求",
            "何個か",
            "cuánto ",
            "用python",
            "pythonで",
            "面積",
            "1+",
            "soll ",
            "devrais",
        ),
    ]:
        assert infer_kind(piece * (1_000_000 // len(piece))) in KINDS
